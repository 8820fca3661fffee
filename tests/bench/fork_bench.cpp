// SPDX-License-Identifier: MIT
// Row "fork": a tree of forks, 20 deep, whose leaves compute for about 100 ns.
//
//   fork_bench partita|tbb-invoke|tbb-group|sequential
#include "runtime/fork.h"

#include <oneapi/tbb.h>

#include "runtime/pool.h"
#include "tests/bench/bench.h"

namespace {

constexpr unsigned kDepth = 20;
constexpr unsigned kThreads = 2;
// By the measure of "sequential": neighbouring leaves overlap in the processor.
constexpr uint64_t kLeafSteps = 140;

uint64_t leaf() {
  return bench::compute(1, kLeafSteps) ? 1 : 0;
}

uint64_t partita(unsigned depth) {
  if (depth == 0) return leaf();
  uint64_t right = 0;
  runtime::Fork fork([&] { right = partita(depth - 1); });
  const uint64_t left = partita(depth - 1);
  fork.join();
  return left + right;
}

uint64_t tbb_invoke(unsigned depth) {
  if (depth == 0) return leaf();
  uint64_t left = 0, right = 0;
  oneapi::tbb::parallel_invoke([&] { left = tbb_invoke(depth - 1); },
                               [&] { right = tbb_invoke(depth - 1); });
  return left + right;
}

uint64_t tbb_group(unsigned depth) {
  if (depth == 0) return leaf();
  uint64_t right = 0;
  oneapi::tbb::task_group group;
  group.run([&] { right = tbb_group(depth - 1); });
  const uint64_t left = tbb_group(depth - 1);
  group.wait();
  return left + right;
}

uint64_t sequential(unsigned depth) {
  return depth == 0 ? leaf() : sequential(depth - 1) + sequential(depth - 1);
}

void measure(std::string_view name, auto&& tree) {
  constexpr uint64_t kLeaves = uint64_t{1} << kDepth;
  if (tree() != kLeaves) bench::die("leaves are missing");  // threads and memory come
  const bench::Meter meter;
  if (tree() != kLeaves) bench::die("leaves are missing");
  const bench::Usage usage = meter.read();
  bench::Line("fork", name)
      .add(usage)
      .add("leaves_per_second", static_cast<double>(kLeaves) / usage.seconds)
      .print();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = bench::peer(argc, argv);
  if (name == "partita") {
    const auto pool = std::move(*runtime::ThreadPool::create({.concurrency = kThreads}));
    measure(name, [&] {
      uint64_t leaves = 0;
      run(pool->group(), [&] { leaves = partita(kDepth); });
      return leaves;
    });
  } else if (name == "tbb-invoke") {
    measure(name, [] { return tbb_invoke(kDepth); });
  } else if (name == "tbb-group") {
    measure(name, [] { return tbb_group(kDepth); });
  } else if (name == "sequential") {
    measure(name, [] { return sequential(kDepth); });
  } else {
    bench::die("no such peer");
  }
}
