// SPDX-License-Identifier: MIT
#include "tests/fake/hypercall.h"

#include "abi/tlfs/partition.h"
#include "hypervisor/core/guest_memory.h"

namespace hv::fake {

namespace {

constexpr uint64_t bit(unsigned number) {
  return uint64_t{1} << number;
}

}  // namespace

const uint64_t kRootPrivileges =
    bit(abi::kHvPrivilegeAccessSynicRegsBit) | bit(abi::kHvPrivilegeAccessHypercallMsrsBit) |
    bit(abi::kHvPrivilegeAccessVpIndexBit) | bit(abi::kHvPrivilegeCreatePartitionsBit) |
    bit(abi::kHvPrivilegeAccessPartitionIdBit) | bit(abi::kHvPrivilegeAccessMemoryPoolBit) |
    bit(abi::kHvPrivilegePostMessagesBit) | bit(abi::kHvPrivilegeSignalEventsBit) |
    bit(abi::kHvPrivilegeCreatePortBit) | bit(abi::kHvPrivilegeConnectPortBit) |
    bit(abi::kHvPrivilegeAccessStatsBit) | bit(abi::kHvPrivilegeCpuManagementBit);

uint64_t Request::control() const {
  return static_cast<uint64_t>(code) | uint64_t{fast} << abi::kHvHypercallFastBit |
         variable.size() << abi::kHvHypercallVariableHeaderSizeShift |
         uint64_t{rep_count} << abi::kHvHypercallRepCountShift |
         uint64_t{rep_start} << abi::kHvHypercallRepStartShift;
}

Reply call(Vp& caller, const Request& request, unsigned max_entries) {
  std::vector<uint8_t> block = request.input;
  for (const uint64_t qword : request.variable)
    for (unsigned i = 0; i < sizeof(qword); ++i)
      block.push_back(static_cast<uint8_t>(qword >> 8 * i));
  block.insert(block.end(), request.reps.begin(), request.reps.end());

  Partition& partition = caller.partition;
  HypercallRegisters registers{request.control(), request.input_gpa.value(),
                               request.output_gpa.value()};
  if (request.fast) {
    uint64_t parameters[2] = {0, 0xdeadbeefdeadbeef};  // R8 may be anything if it is not used
    std::memcpy(parameters, block.data(), std::min(block.size(), sizeof(parameters)));
    registers.input = parameters[0];
    registers.output = parameters[1];
  } else {
    // Where the test gave a bad address the hypercall shall find it, not the test.
    (void)copy_out_bytes(partition, request.input_gpa, block.data(), block.size()).has_value();
  }
  Reply reply;
  for (;;) {
    const HypercallResult result = dispatch_hypercall(caller, registers);
    ++reply.entries;
    if (!result.restart) {
      reply.status = static_cast<abi::HvStatus>(result.value & 0xffff);
      reply.reps = static_cast<unsigned>(result.value >> abi::kHvHypercallResultRepsShift & 0xfff);
      break;
    }
    if (reply.entries == max_entries) {
      reply.stuck = true;
      return reply;
    }
    registers.control = result.control;
  }
  reply.output.resize(request.output_bytes);
  if (!copy_in_bytes(partition, request.output_gpa, reply.output.data(), request.output_bytes))
    reply.output.clear();
  return reply;
}

}  // namespace hv::fake
