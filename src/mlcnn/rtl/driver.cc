// The simulated core beside a memory of fixed latency, one beat a command, in order.
// A command may be stalled: whether it is taken in a cycle is a function of seed and cycle alone.

#include "heart.cc"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <cxxrtl/cxxrtl_vcd.h>

namespace {

using Heart = cxxrtl_design::p_heart;
constexpr int kBeatBytes = BEAT_BYTES;

struct Request {
	uint64_t program, latency, write_latency, trace, percent, beats, most_cycles, layers;
	int64_t reset_at; // in this cycle a reset begins, and the program is started again behind it
	int64_t wave_layer; // whose signals are written down
	uint8_t *memory;
	uint64_t *cycles, *steps, *lengths; // of each layer; lengths of all steps one after the other
	uint64_t most_steps;
	const char *wave_path;
};

uint64_t mixed(uint64_t x) {
	x ^= x >> 30;
	x *= 0xBF58476D1CE4E5B9ull;
	x ^= x >> 27;
	x *= 0x94D049BB133111EBull;
	return x ^ x >> 31;
}

bool ready_at(uint64_t cycle, uint64_t seed, uint64_t percent) {
	uint64_t x = mixed(seed + (cycle + 1) * 0x9E3779B97F4A7C15ull);
	return (x >> 32) * 100 >> 32 >= percent;
}

// As after power-on nothing may hang on what is in a memory before it is written.
void fill_memories(Heart &heart, uint64_t seed) {
	cxxrtl::debug_items items;
	heart.debug_info(&items, nullptr, "");
	uint64_t count = 0;
	for (auto &named : items.table) {
		for (auto &item : named.second) {
			if (item.type != CXXRTL_MEMORY)
				continue;
			size_t chunks = (item.width + 31) / 32;
			for (size_t row = 0; row < item.depth; row++) {
				for (size_t chunk = 0; chunk < chunks; chunk++) {
					uint32_t bits = mixed(seed * 31 + ++count);
					size_t left = item.width - 32 * chunk;
					if (left < 32)
						bits &= (1u << left) - 1;
					item.curr[row * chunks + chunk] = bits;
				}
			}
		}
	}
}

struct Beat {
	uint64_t due;
	uint64_t address;
};

class Bench {
public:
	explicit Bench(uint64_t seed) {
		fill_memories(heart, seed + 1);
		heart.p_rst.set(true);
		clock();
		heart.p_rst.set(false);
	}

	// 0, or 1 where the program does not end, 2 where a command leaves the memory.
	int run(const Request &request) {
		r = request;
		bad = false;
		heart.p_program.set<uint32_t>(r.program);
		begin();
		for (total = 0; total < r.most_cycles; total++, cycle++) {
			if (int64_t(total) == r.reset_at) {
				heart.p_reset.set(true);
				resetting = true;
			}
			once();
			if (resetting)
				restart();
			else if (heart.p_done)
				return bad ? 2 : 0;
		}
		return 1;
	}

	uint64_t simulated() const { return total; }

private:
	void clock() {
		heart.p_clk.set(false);
		heart.step();
		heart.p_clk.set(true);
		heart.step();
	}

	// The cycle before the first command.
	void begin() {
		heart.p_start.set(true);
		heart.p_ready.set(false);
		heart.p_arrives.set(false);
		heart.p_acknowledged.set(false);
		clock();
		heart.p_start.set(false);
		cycle = begun = step_begun = 0;
		layer = step = 0;
	}

	void restart() {
		heart.p_reset.set(false);
		if (waiting++ == 0 || !heart.p_idle)
			return;
		resetting = false;
		waiting = 0;
		begin();
		cycle = uint64_t(-1); // one is added before the next
	}

	void once() {
		bool ready = ready_at(cycle, r.trace, r.percent);
		bool arrives = !beats.empty() && beats.front().due == total;
		heart.p_ready.set(ready);
		heart.p_arrives.set(arrives);
		if (arrives) {
			std::memcpy(heart.p_beat.data, r.memory + beats.front().address * kBeatBytes, kBeatBytes);
			beats.pop_front();
		}
		bool acknowledged = !stores.empty() && stores.front() == total;
		heart.p_acknowledged.set(acknowledged);
		if (acknowledged)
			stores.pop_front();
		heart.p_clk.set(false);
		heart.step();
		wave();
		if (ready && heart.p_command)
			command();
		bool begins = bool(heart.p_steps__begin);
		bool step_done = bool(heart.p_step__done), layer_done = bool(heart.p_layer__done);
		heart.p_clk.set(true);
		heart.step();
		if (begins)
			step_begun = cycle + 1;
		note(step_done, layer_done);
	}

	void command() {
		uint64_t address = heart.p_address.get<uint32_t>();
		if (address >= r.beats) {
			bad = true;
			address = 0;
		}
		if (!heart.p_write) {
			beats.push_back({total + r.latency, address});
			return;
		}
		stores.push_back(total + r.write_latency);
		const auto *data = reinterpret_cast<const uint8_t *>(heart.p_data.data);
		const auto *strobe = reinterpret_cast<const uint8_t *>(heart.p_strobe.data);
		for (int byte = 0; byte < kBeatBytes; byte++)
			if (strobe[byte / 8] >> byte % 8 & 1)
				r.memory[address * kBeatBytes + byte] = data[byte];
	}

	void note(bool step_done, bool layer_done) {
		if (step_done) {
			uint64_t length = cycle + 1 - step_begun;
			if (step < r.most_steps)
				r.lengths[step] = length;
			step++;
			step_begun = cycle + 1;
		}
		if (layer_done) {
			if (layer < r.layers) {
				r.cycles[layer] = cycle + 1 - begun;
				r.steps[layer] = step;
			}
			layer++;
			begun = cycle + 1;
		}
	}

	void wave() {
		if (r.wave_layer < 0 || layer != uint64_t(r.wave_layer))
			return finish_wave();
		if (!file) {
			file = std::fopen(r.wave_path, "w");
			if (!file)
				return;
			cxxrtl::debug_items items;
			heart.debug_info(&items, nullptr, "");
			writer.timescale(1, "ns");
			writer.add_without_memories(items);
		}
		writer.sample(cycle - begun);
		flush();
	}

	void flush() {
		std::fwrite(writer.buffer.data(), 1, writer.buffer.size(), file);
		writer.buffer.clear();
	}

	void finish_wave() {
		if (file) {
			std::fclose(file);
			file = nullptr;
			r.wave_layer = -1;
		}
	}

	Request r{};
	bool bad = false;
	Heart heart;
	std::deque<Beat> beats;
	std::deque<uint64_t> stores;
	uint64_t total = 0, cycle = 0, begun = 0, step_begun = 0, layer = 0, step = 0, waiting = 0;
	bool resetting = false;
	std::FILE *file = nullptr;
	cxxrtl::vcd_writer writer;
};

} // namespace

extern "C" void *power_on(uint64_t seed) { return new Bench(seed); }

extern "C" void power_off(void *bench) { delete static_cast<Bench *>(bench); }

extern "C" int run(void *bench, const Request *request, uint64_t *simulated) {
	int code = static_cast<Bench *>(bench)->run(*request);
	*simulated = static_cast<Bench *>(bench)->simulated();
	return code;
}
