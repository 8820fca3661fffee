// SPDX-License-Identifier: MIT
// The panic screen: reason, registers, backtrace, and the VP that was loaded. Takes no lock that a
// stopped LP might hold. The other LPs stop at the kick, as soon as they take interrupts.

#include "hypervisor/arch/x86/cpu.h"
#include "hypervisor/arch/x86/native/panic_frame.h"
#include "hypervisor/arch/x86/native/x86_lp.h"
#include "hypervisor/arch/x86/svm/vmcb.h"
#include "hypervisor/core/console.h"
#include "hypervisor/core/log.h"

namespace hv {
namespace {

std::atomic<bool> panicked{false};

template <class... Args>
void show(std::string_view format, const Args&... args) {
  char line[256];
  const LogArg array[] = {LogArg(args)..., LogArg(0)};
  const size_t used = format_to(line, sizeof(line), format, array, sizeof...(args));
  console_write({line, used});
  console_write("\n");
}

[[noreturn]] void halt() {
  for (;;) asm volatile("cli; hlt");
}

bool on_stack(uint64_t address) {
  return address >= boot::kStackBase &&
         address + 16 <= boot::stack_top(boot::kMaxBootLps - 1, boot::kStacksPerLp - 1) &&
         (address - boot::kStackBase) % boot::kStackSlot >= 4096;
}

void show_backtrace(uint64_t rbp) {
  show("backtrace:");
  for (int depth = 0; depth < 24 && on_stack(rbp) && rbp % 8 == 0; ++depth) {
    const auto* frame = reinterpret_cast<const uint64_t*>(rbp);
    show("  {x}", frame[1]);
    if (frame[0] <= rbp) break;
    rbp = frame[0];
  }
}

void show_vp() {
  const x86::X86Lp& lp = x86::this_x86_lp();
  if (!lp.loaded) return show("no VP loaded");
  const x86::Vcpu& vp = *lp.loaded;
  const svm::Vmcb& v = *vp.vmcb;
  show("VP {} of partition {}: exit {x} info {x} {x}", vp.index.value(), vp.partition.id.value(),
       v.exit_code, v.exit_info1, v.exit_info2);
  show("  rip {x} rsp {x} rflags {x} cr0 {x} cr3 {x} cr4 {x} efer {x}", v.rip, v.rsp, v.rflags,
       v.cr0, v.cr3, v.cr4, v.efer);
}

// False if another LP has panicked already.
bool begin_panic() {
  if (panicked.exchange(true)) return false;
  for (unsigned i = 0; i < lp_count; ++i)
    if (lps[i] && lps[i]->online) kick_lp(*lps[i]);
  return true;
}

void show_header() {
  console_write("\n==== hypervisor panic ====\n");
  show("LP {}", this_lp().index.value());
}

}  // namespace

void panic(std::string_view format, const LogArg* args, size_t count) {
  if (!begin_panic()) halt();
  char line[256];
  const size_t used = format_to(line, sizeof(line), format, args, count);
  show_header();
  console_write({line, used});
  console_write("\n");
  show_backtrace(reinterpret_cast<uint64_t>(__builtin_frame_address(0)));
  show_vp();
  halt();
}

namespace x86 {

void stop_if_panicked() {
  if (panicked.load()) halt();
}

void panic_on_exception(const InterruptFrame& f) {
  if (!begin_panic()) halt();
  show_header();
  show("exception {} error {x} at rip {x} cr2 {x}", f.vector, f.error_code, f.rip, cpu::read_cr2());
  show("rax {x} rbx {x} rcx {x} rdx {x}", f.rax, f.rbx, f.rcx, f.rdx);
  show("rsi {x} rdi {x} rbp {x} rsp {x}", f.rsi, f.rdi, f.rbp, f.rsp);
  show("r8 {x} r9 {x} r10 {x} r11 {x}", f.r8, f.r9, f.r10, f.r11);
  show("r12 {x} r13 {x} r14 {x} r15 {x} rflags {x}", f.r12, f.r13, f.r14, f.r15, f.rflags);
  show_backtrace(f.rbp);
  show_vp();
  halt();
}

}  // namespace x86
}  // namespace hv
