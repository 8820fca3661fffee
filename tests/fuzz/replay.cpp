// SPDX-License-Identifier: MIT
// Stands in for libFuzzer: replays the files it is given, or else feeds the target seeded random
// inputs: PARTITA_FUZZ_RUNS of them (5,000), from PARTITA_FUZZ_SEED (1), of at most 4 KB.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

uint64_t number(const char* variable, uint64_t fallback) {
  const char* text = std::getenv(variable);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 0);
}

bool replay(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::fprintf(stderr, "%s: cannot be read\n", path), false;
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (!replay(argv[i])) return 2;
  }
  if (argc > 1) return 0;
  const uint64_t runs = number("PARTITA_FUZZ_RUNS", 5000);
  const uint64_t seed = number("PARTITA_FUZZ_SEED", 1);
  std::mt19937_64 random(seed);
  std::vector<uint8_t> input;
  for (uint64_t run = 0; run < runs; ++run) {
    input.assign(random() % 16 == 0 ? random() % 4096 : random() % 128, 0);
    for (auto& byte : input) byte = static_cast<uint8_t>(random());
    // A block of exactly this size, so that a read past it is seen.
    std::vector<uint8_t> exact(input);
    exact.shrink_to_fit();
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  }
  std::printf("%llu inputs, seed %llu\n", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(seed));
  return 0;
}
