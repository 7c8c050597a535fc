/* Draws every chart of the page from the data beside it, and lets drawings be enlarged. */
(function () {
  "use strict";

  var LEAST = 0.3, MOST = 4, READABLE = 0.85;
  var blocks = document.querySelectorAll('script[type="application/json"][data-chart]');

  function fail(target, error) {
    target.textContent = "This chart could not be drawn; the page says the same in words and figures.";
    target.dataset.state = "failed";
    console.error(error);
  }

  /* A drawing: as wide as there is room, but never too small to be read. */
  function zoomable(target, view) {
    function set(zoom) {
      view.signal("zoom", Math.min(Math.max(zoom, LEAST), MOST)).run();
    }
    function fit() {
      set(Math.min(Math.max(target.clientWidth / view.signal("wide"), READABLE), 1));
      target.scrollLeft = (target.scrollWidth - target.clientWidth) / 2;
    }
    var buttons = document.querySelectorAll('[data-zoom="' + target.id + '"] button');
    Array.prototype.forEach.call(buttons, function (button) {
      button.addEventListener("click", function () {
        var step = Number(button.dataset.step);
        if (step) { set(view.signal("zoom") * step); } else { fit(); }
      });
    });
    target.addEventListener("wheel", function (event) {
      if (!event.ctrlKey && !event.metaKey) { return; }
      event.preventDefault();
      set(view.signal("zoom") * (event.deltaY < 0 ? 1.1 : 1 / 1.1));
    }, { passive: false });
    fit();
  }

  function draw(block) {
    var target = document.getElementById(block.dataset.chart);
    var mode = block.dataset.mode || "vega-lite";
    /* ast: expressions are interpreted, so that the page needs no right to evaluate text. */
    var options = { mode: mode, renderer: "svg", actions: false, ast: true };
    return vegaEmbed(target, JSON.parse(block.textContent), options)
      .then(function (drawn) {
        if (mode === "vega") { zoomable(target, drawn.view); }
        target.dataset.state = "drawn";
      })
      .catch(function (error) { fail(target, error); });
  }

  Array.prototype.forEach.call(blocks, function (block) { draw(block); });
})();
