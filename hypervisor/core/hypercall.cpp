// SPDX-License-Identifier: MIT
// The validator: every generic check of [TLFS 3], in one place, before and after a handler. Guest
// memory is read once into this LP's buffer and written once from it; output is looked up again
// after the handler, which may have let other LPs change the caller's map.
#include "hypervisor/core/hypercall.h"

#include <cstring>

#include "hypervisor/core/guest_memory.h"
#include "hypervisor/core/hypercall_table.h"

namespace hv {

namespace {

struct Control {
  using Code = base::Field<15, 0>;
  using Fast = base::Field<abi::kHvHypercallFastBit>;
  using VariableQwords = base::Field<26, 17>;
  using Nested = base::Field<abi::kHvHypercallNestedBit>;
  using RepCount = base::Field<43, 32>;
  using RepStart = base::Field<59, 48>;
};
struct ResultWord {
  using Status = base::Field<15, 0>;
  using RepsDone = base::Field<43, 32>;
};

// The work of one dispatch: addresses and sizes in bytes.
class Dispatch {
 public:
  Dispatch(Vp& caller, const HypercallRegisters& registers)
      : call_{caller, caller.partition}, registers_(registers) {}

  Result<> run();
  unsigned reps_done() const { return block_.first + block_.done; }

 private:
  Result<> check_control(const HypercallRow& row);
  Result<> check_blocks(const HypercallRow& row);
  Result<> read_input(const HypercallRow& row);
  Result<> resolve_target(HypercallTarget target);
  Result<> write_output(const HypercallRow& row);

  bool fast() const { return Control::Fast::test(registers_.control); }
  unsigned variable_bytes() const {
    return static_cast<unsigned>(Control::VariableQwords::get(registers_.control)) * 8;
  }
  unsigned rep_count() const {
    return static_cast<unsigned>(Control::RepCount::get(registers_.control));
  }

  Call call_;
  const HypercallRegisters& registers_;
  CallBlock block_{};
};

Result<> Dispatch::check_control(const HypercallRow& row) {
  const uint64_t control = registers_.control;
  if ((control & abi::kHvHypercallReservedMask) != 0 || Control::Nested::test(control))
    return fail(Error::invalid_hypercall_input);
  const auto start = static_cast<unsigned>(Control::RepStart::get(control));
  if (row.kind == HypercallKind::rep ? start >= rep_count() : (start | rep_count()) != 0)
    return fail(Error::invalid_hypercall_input);
  if (row.variable == VariableHeader::no && variable_bytes() != 0)
    return fail(Error::invalid_hypercall_input);
  if (fast() && !row.fast()) return fail(Error::invalid_hypercall_input);
  block_.first = start;
  block_.count = rep_count() - start < kRepsPerEntry ? rep_count() - start : kRepsPerEntry;
  return {};
}

// Whole blocks, as the caller laid them out, not only the part that is used now.
Result<> Dispatch::check_blocks(const HypercallRow& row) {
  const unsigned input = row.input + variable_bytes() + row.rep_input * rep_count();
  const unsigned output = row.output + row.rep_output * rep_count();
  if (fast())
    return input <= abi::kHvHypercallFastBytes ? Result<>() : fail(Error::invalid_hypercall_input);
  const Gpa in(registers_.input);
  const Gpa out(registers_.output);
  if (input != 0 && (!in.is_aligned(8) || in.offset() + input > kPageSize))
    return fail(Error::invalid_alignment);
  if (output != 0) {
    if (!out.is_aligned(8) || out.offset() + output > kPageSize)
      return fail(Error::invalid_alignment);
    HV_TRY(pin_page(call_.partition, out, Access::write));
  }
  return {};
}

Result<> Dispatch::read_input(const HypercallRow& row) {
  uint8_t* const buffer = hypercall_buffer();
  const unsigned header = row.input + variable_bytes();
  const unsigned reps = row.rep_input * block_.count;
  block_.input = buffer;
  block_.rep_input = buffer + header;
  block_.output = buffer + kPageSize;
  if (fast()) {
    const uint64_t parameters[] = {registers_.input, registers_.output};
    static_assert(sizeof(parameters) == abi::kHvHypercallFastBytes);
    std::memcpy(buffer, parameters, sizeof(parameters));
    block_.rep_input += row.rep_input * block_.first;
  } else {
    const Gpa in(registers_.input);
    HV_TRY(copy_in_bytes(call_.partition, in, buffer, header));
    HV_TRY(copy_in_bytes(call_.partition, in + header + row.rep_input * block_.first,
                         buffer + header, reps));
  }
  call_.variable = {reinterpret_cast<const uint64_t*>(buffer + row.input), variable_bytes() / 8};
  return {};
}

Result<> Dispatch::resolve_target(HypercallTarget target) {
  if (target == HypercallTarget::none) return {};
  uint64_t id = 0;
  std::memcpy(&id, block_.input, sizeof(id));
  Partition& self = call_.partition;
  if (id == abi::kHvPartitionIdSelf) id = self.id.value();
  call_.target = id == self.id.value() ? &self : find_partition(PartitionId{id});
  if (!call_.target) return fail(Error::invalid_partition_id);
  const bool own = call_.target == &self && target != HypercallTarget::child;
  const bool child = call_.target->parent == &self && target != HypercallTarget::self;
  return own || child ? Result<>() : fail(Error::access_denied);
}

Result<> Dispatch::write_output(const HypercallRow& row) {
  const unsigned bytes = row.output + row.rep_output * block_.done;
  if (bytes == 0) return {};
  const Gpa out = Gpa(registers_.output) + row.rep_output * block_.first;
  return copy_out_bytes(call_.partition, out, block_.output, bytes);
}

Result<> Dispatch::run() {
  const HypercallRow* const row =
      find_hypercall(static_cast<uint16_t>(Control::Code::get(registers_.control)));
  if (!row) return fail(Error::invalid_hypercall_code);
  if (!call_.partition.may(row->privileges)) return fail(Error::access_denied);
  HV_TRY(check_control(*row));
  HV_TRY(check_blocks(*row));
  HV_TRY(read_input(*row));
  HV_TRY(resolve_target(row->target));
  if (row->output + row->rep_output != 0)
    std::memset(block_.output, 0, row->output + row->rep_output * block_.count);
  const Result<> result = row->run(call_, block_);
  // A rep call returns what it did before it failed.
  if (result || row->kind == HypercallKind::rep) HV_TRY(write_output(*row));
  HV_TRY(result);
  return reps_done() < rep_count() ? fail(Error::retry) : Result<>();
}

}  // namespace

HypercallResult dispatch_hypercall(Vp& caller, const HypercallRegisters& registers) {
  ++caller.counters.hypercalls;
  Dispatch dispatch(caller, registers);
  const Result<> result = dispatch.run();
  const uint64_t done = dispatch.reps_done();
  if (!result && result.error() == Error::retry)
    return {0, Control::RepStart::set(registers.control, done), true};
  const abi::HvStatus status = result ? abi::HvStatus::kSuccess : to_status(result.error());
  return {ResultWord::RepsDone::set(static_cast<uint64_t>(status), done), 0, false};
}

// A guest-physical address without memory of the access that is needed is a wrong parameter; the
// other errors without a status come from no handler.
abi::HvStatus to_status(Error error) {
  return error < Error::retry ? static_cast<abi::HvStatus>(error)
                              : abi::HvStatus::kInvalidParameter;
}

}  // namespace hv
