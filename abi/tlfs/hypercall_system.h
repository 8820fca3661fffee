// SPDX-License-Identifier: MIT
// Parameter blocks of the root's calls on the machine: statistics pages, system properties, logical
// processors, device interrupts. [Linux hvhdk_mini.h, 6.1 asm-generic/hyperv-tlfs.h; hvdef]
// Conventions (rep, out, header, reserved fields): hypercall.h.
#pragma once

#include "abi/tlfs/layout.h"
#include "abi/tlfs/partition.h"

namespace hv::abi {

// MapStatsPage and UnmapStatsPage. Later kernels may append a requested page number to Map.
struct HvInputMapStatsPage {
  HvStatsObjectType type;
  uint32_t padding;
  HvStatsObjectIdentity identity;
};
HV_ABI_STRUCT(HvInputMapStatsPage, 0x18);
HV_ABI_AT(HvInputMapStatsPage, type, 0x0);
HV_ABI_AT(HvInputMapStatsPage, padding, 0x4);
HV_ABI_AT(HvInputMapStatsPage, identity, 0x8);
using HvInputUnmapStatsPage = HvInputMapStatsPage;

struct HvOutputMapStatsPage {
  uint64_t map_location;  // page number, of the caller
};
HV_ABI_STRUCT(HvOutputMapStatsPage, 0x8);
HV_ABI_AT(HvOutputMapStatsPage, map_location, 0x0);

struct HvInputGetSystemProperty {
  HvSystemProperty property_id;
  uint32_t reserved;
  uint64_t argument;
};
HV_ABI_STRUCT(HvInputGetSystemProperty, 0x10);
HV_ABI_AT(HvInputGetSystemProperty, property_id, 0x0);
HV_ABI_AT(HvInputGetSystemProperty, reserved, 0x4);
HV_ABI_AT(HvInputGetSystemProperty, argument, 0x8);

struct HvOutputGetSystemProperty {
  uint64_t value;  // SchedulerType: HvSchedulerType in the low 32 bits
};
HV_ABI_STRUCT(HvOutputGetSystemProperty, 0x8);
HV_ABI_AT(HvOutputGetSystemProperty, value, 0x0);

struct HvInputNotifyPartitionEvent {
  HvPartitionEvent event;
  uint32_t input;
};
HV_ABI_STRUCT(HvInputNotifyPartitionEvent, 0x8);
HV_ABI_AT(HvInputNotifyPartitionEvent, event, 0x0);
HV_ABI_AT(HvInputNotifyPartitionEvent, input, 0x4);

// AddLogicalProcessor. Linux 6.1 appends a qword of flags, later kernels do not: it is ignored.
struct HvInputAddLogicalProcessor {
  uint32_t lp_index;
  uint32_t apic_id;
  HvProximityDomainInfo proximity_domain_info;
};
HV_ABI_STRUCT(HvInputAddLogicalProcessor, 0x10);
HV_ABI_AT(HvInputAddLogicalProcessor, lp_index, 0x0);
HV_ABI_AT(HvInputAddLogicalProcessor, apic_id, 0x4);
HV_ABI_AT(HvInputAddLogicalProcessor, proximity_domain_info, 0x8);

// HV_LOGICAL_PROCESSOR_STARTUP_STATUS
struct HvOutputAddLogicalProcessor {
  uint64_t hv_status;
  uint64_t substatus[6];
};
HV_ABI_STRUCT(HvOutputAddLogicalProcessor, 0x38);
HV_ABI_AT(HvOutputAddLogicalProcessor, hv_status, 0x0);
HV_ABI_AT(HvOutputAddLogicalProcessor, substatus, 0x8);

// HV_DEVICE_ID, 64 bits: the type in 63:62. PCI: rid 15:0 (bus, device, function), segment 31:16,
// shadowed bus range 47:32, phantom function bits 49:48, source shadow 50. IO-APIC: its id in 7:0.
enum class HvDeviceType : uint8_t {
  HvDeviceTypeIoapic = 2,
};
inline constexpr unsigned kHvDeviceIdTypeShift = 62;

enum class HvInterruptSource : uint32_t {
  HvInterruptSourceMsi = 1,
  HvInterruptSourceIoApic = 2,
};

// HV_INTERRUPT_ENTRY. MSI: address in 31:0 of data, data in 63:32. IO-APIC: the redirection entry.
struct HvInterruptEntry {
  HvInterruptSource source;
  uint32_t reserved;
  uint64_t data;
};
HV_ABI_STRUCT(HvInterruptEntry, 0x10);
HV_ABI_AT(HvInterruptEntry, source, 0x0);
HV_ABI_AT(HvInterruptEntry, reserved, 0x4);
HV_ABI_AT(HvInterruptEntry, data, 0x8);
inline constexpr unsigned kHvMsiEntryDataShift = 32;

enum class HvInterruptTriggerMode : uint32_t {
  HvInterruptTriggerModeLevel = 1,
};

// HV_DEVICE_INTERRUPT_TARGET flags
inline constexpr uint32_t kHvDeviceInterruptTargetProcessorSetMask = 2;  // vp_set, else a mask

// HV_DEVICE_INTERRUPT_TARGET, fixed part. mask_or_format is a mask of VPs 0 to 63, or for a
// processor set its HvGenericSetFormat; then valid_bank_mask and the banks follow as the header.
struct HvDeviceInterruptTarget {
  uint32_t vector;
  uint32_t flags;
  uint64_t mask_or_format;
};
HV_ABI_STRUCT(HvDeviceInterruptTarget, 0x10);
HV_ABI_AT(HvDeviceInterruptTarget, vector, 0x0);
HV_ABI_AT(HvDeviceInterruptTarget, flags, 0x4);
HV_ABI_AT(HvDeviceInterruptTarget, mask_or_format, 0x8);

// HV_DEVICE_INTERRUPT_DESCRIPTOR, fixed part
struct HvDeviceInterruptDescriptor {
  HvInterruptType interrupt_type;
  HvInterruptTriggerMode trigger_mode;
  uint32_t vector_count;
  uint32_t reserved;
  HvDeviceInterruptTarget target;
};
HV_ABI_STRUCT(HvDeviceInterruptDescriptor, 0x20);
HV_ABI_AT(HvDeviceInterruptDescriptor, interrupt_type, 0x0);
HV_ABI_AT(HvDeviceInterruptDescriptor, trigger_mode, 0x4);
HV_ABI_AT(HvDeviceInterruptDescriptor, vector_count, 0x8);
HV_ABI_AT(HvDeviceInterruptDescriptor, reserved, 0xc);
HV_ABI_AT(HvDeviceInterruptDescriptor, target, 0x10);

// MapDeviceInterrupt. header: valid_bank_mask @48 and the banks @50 (Linux sends banks + 1).
struct HvInputMapDeviceInterrupt {
  uint64_t partition_id;
  uint64_t device_id;
  uint64_t flags;
  HvInterruptEntry logical_interrupt_entry;
  HvDeviceInterruptDescriptor interrupt_descriptor;
};
HV_ABI_STRUCT(HvInputMapDeviceInterrupt, 0x48);
HV_ABI_AT(HvInputMapDeviceInterrupt, partition_id, 0x0);
HV_ABI_AT(HvInputMapDeviceInterrupt, device_id, 0x8);
HV_ABI_AT(HvInputMapDeviceInterrupt, flags, 0x10);
HV_ABI_AT(HvInputMapDeviceInterrupt, logical_interrupt_entry, 0x18);
HV_ABI_AT(HvInputMapDeviceInterrupt, interrupt_descriptor, 0x28);

// Later headers append five deprecated qwords; Linux 6.1 reads these 16 bytes only.
struct HvOutputMapDeviceInterrupt {
  HvInterruptEntry interrupt_entry;
};
HV_ABI_STRUCT(HvOutputMapDeviceInterrupt, 0x10);
HV_ABI_AT(HvOutputMapDeviceInterrupt, interrupt_entry, 0x0);

// UnmapDeviceInterrupt. Later headers append 32-bit flags.
struct HvInputUnmapDeviceInterrupt {
  uint64_t partition_id;
  uint64_t device_id;
  HvInterruptEntry interrupt_entry;
};
HV_ABI_STRUCT(HvInputUnmapDeviceInterrupt, 0x20);
HV_ABI_AT(HvInputUnmapDeviceInterrupt, partition_id, 0x0);
HV_ABI_AT(HvInputUnmapDeviceInterrupt, device_id, 0x8);
HV_ABI_AT(HvInputUnmapDeviceInterrupt, interrupt_entry, 0x10);

// RetargetDeviceInterrupt. header as for MapDeviceInterrupt, if the target is a set.
struct HvInputRetargetDeviceInterrupt {
  uint64_t partition_id;  // kHvPartitionIdSelf
  uint64_t device_id;
  HvInterruptEntry interrupt_entry;
  uint64_t reserved;
  HvDeviceInterruptTarget interrupt_target;
};
HV_ABI_STRUCT(HvInputRetargetDeviceInterrupt, 0x38);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, partition_id, 0x0);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, device_id, 0x8);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, interrupt_entry, 0x10);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, reserved, 0x20);
HV_ABI_AT(HvInputRetargetDeviceInterrupt, interrupt_target, 0x28);

}  // namespace hv::abi
