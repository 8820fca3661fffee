// SPDX-License-Identifier: MIT
// The hypercall table and what a handler gets. A row is made from its handler's type: the fixed
// input, the output, and for rep calls what one repetition adds. docs/hypercalls.md is generated
// from it.
#pragma once

#include <span>
#include <type_traits>

#include "hypervisor/core/hypercall.h"

namespace hv {

// What the first field of the input, a partition id, may name. The validator resolves it.
enum class HypercallTarget : uint8_t { none, self, child, child_or_self };

// One hypercall under way.
struct Call {
  Vp& caller;
  Partition& partition;                     // the caller's
  Partition* target = nullptr;              // unless the row says none
  std::span<const uint64_t> variable = {};  // the variable header
};

struct Nothing {};  // no fixed input, no output, or nothing in a repetition
template <class T>
inline constexpr uint16_t kWireSize = std::is_same_v<T, Nothing> ? 0 : sizeof(T);

// The repetitions a handler may do now: a bounded run of them, starting with number `first` of the
// call. It sets `done` as it goes, also when it fails; fewer than `count` without an error means
// that the caller comes back for the rest. Spans are empty where a repetition has no data.
template <class In, class Out = Nothing>
struct Reps {
  std::span<const In> in;
  std::span<Out> out;
  unsigned first = 0;
  unsigned count = 0;
  unsigned& done;
};

// The same without types, as the validator prepares it.
struct CallBlock {
  const uint8_t* input;      // fixed part
  const uint8_t* rep_input;  // of repetition `first`
  uint8_t* output;           // fixed output, or that of repetition `first`
  unsigned first = 0;
  unsigned count = 0;
  unsigned done = 0;
};

enum class HypercallKind : uint8_t { simple, rep };
enum class VariableHeader : uint8_t { no, yes };

struct HypercallRow {
  abi::HvCall code;
  const char* name;
  HypercallKind kind;
  VariableHeader variable;
  HypercallTarget target;
  uint64_t privileges;                            // all of these bits
  uint16_t input, output, rep_input, rep_output;  // bytes
  Result<> (*run)(Call&, CallBlock&);

  // Input fits the two registers and nothing is returned in memory.
  constexpr bool fast() const {
    return input + rep_input <= abi::kHvHypercallFastBytes && output + rep_output == 0 &&
           variable == VariableHeader::no;
  }
};

template <class T>
std::span<T> wire_span(std::conditional_t<std::is_const_v<T>, const uint8_t*, uint8_t*> bytes,
                       unsigned count) {
  if constexpr (std::is_same_v<std::remove_const_t<T>, Nothing>)
    return {};
  else
    return {reinterpret_cast<T*>(bytes), count};
}

template <auto handler>
struct HypercallAdapter;

template <class In, class Out, Result<Out> (*handler)(Call&, const In&)>
struct HypercallAdapter<handler> {
  using Output = std::conditional_t<std::is_void_v<Out>, Nothing, Out>;
  static constexpr HypercallKind kKind = HypercallKind::simple;
  static constexpr uint16_t kInput = kWireSize<In>, kOutput = kWireSize<Output>;
  static constexpr uint16_t kRepInput = 0, kRepOutput = 0;

  static Result<> run(Call& call, CallBlock& block) {
    if constexpr (std::is_void_v<Out>) {
      return handler(call, *reinterpret_cast<const In*>(block.input));
    } else {
      HV_TRY_ASSIGN(*reinterpret_cast<Out*>(block.output),
                    handler(call, *reinterpret_cast<const In*>(block.input)));
      return {};
    }
  }
};

template <class In, class RepIn, class RepOut,
          Result<> (*handler)(Call&, const In&, Reps<RepIn, RepOut>&)>
struct HypercallAdapter<handler> {
  static constexpr HypercallKind kKind = HypercallKind::rep;
  static constexpr uint16_t kInput = kWireSize<In>, kOutput = 0;
  static constexpr uint16_t kRepInput = kWireSize<RepIn>, kRepOutput = kWireSize<RepOut>;

  static Result<> run(Call& call, CallBlock& block) {
    Reps<RepIn, RepOut> reps{wire_span<const RepIn>(block.rep_input, block.count),
                             wire_span<RepOut>(block.output, block.count), block.first, block.count,
                             block.done};
    return handler(call, *reinterpret_cast<const In*>(block.input), reps);
  }
};

template <auto handler>
constexpr HypercallRow make_row(abi::HvCall code, const char* name, HypercallTarget target,
                                uint64_t privileges = 0,
                                VariableHeader variable = VariableHeader::no) {
  using A = HypercallAdapter<handler>;
  return {code,      name,       A::kKind,     variable,      target, privileges,
          A::kInput, A::kOutput, A::kRepInput, A::kRepOutput, A::run};
}

// Rows in the order of their codes.
extern const std::span<const HypercallRow> hypercall_table;
// nullptr for an unknown code.
const HypercallRow* find_hypercall(uint16_t code);

// The most repetitions a handler gets at once. Bounds the time until the caller can take an
// interrupt: 64 of the slowest kind are well below a millisecond.
inline constexpr unsigned kRepsPerEntry = 64;

// The mask of a privilege bit.
constexpr uint64_t privilege(unsigned bit) {
  return uint64_t{1} << bit;
}

}  // namespace hv
