/* Draws every chart of the page from the data beside it. */
(function () {
  "use strict";

  var blocks = document.querySelectorAll('script[type="application/json"][data-chart]');

  function fail(target, error) {
    target.textContent = "This chart could not be drawn; the table holds the same figures.";
    target.dataset.state = "failed";
    console.error(error);
  }

  function draw(block) {
    var target = document.getElementById(block.dataset.chart);
    /* ast: expressions are interpreted, so that the page needs no right to evaluate text. */
    var options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true };
    return vegaEmbed(target, JSON.parse(block.textContent), options)
      .then(function () { target.dataset.state = "drawn"; })
      .catch(function (error) { fail(target, error); });
  }

  Array.prototype.forEach.call(blocks, function (block) { draw(block); });
})();
