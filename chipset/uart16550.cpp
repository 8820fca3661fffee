// SPDX-License-Identifier: MIT
#include "chipset/uart16550.h"

#include <utility>

namespace chipset {
namespace {

enum Register : unsigned { kData, kIer, kIirFcr, kLcr, kMcr, kLsr, kMsr, kScratch };

constexpr uint8_t kIerReceive = 0x01;
constexpr uint8_t kIerTransmit = 0x02;
constexpr uint8_t kIerLine = 0x04;
constexpr uint8_t kIerModem = 0x08;
constexpr uint8_t kIerMask = 0x0F;

constexpr uint8_t kIirNone = 0x01;
constexpr uint8_t kIirModem = 0x00;
constexpr uint8_t kIirTransmit = 0x02;
constexpr uint8_t kIirReceive = 0x04;
constexpr uint8_t kIirLine = 0x06;
constexpr uint8_t kIirTimeout = 0x0C;
constexpr uint8_t kIirFifos = 0xC0;

constexpr uint8_t kFcrEnable = 0x01;
constexpr uint8_t kFcrClearReceive = 0x02;
constexpr uint8_t kFcrClearTransmit = 0x04;
constexpr uint8_t kFcrKept = 0xC9;  // enable, DMA mode, trigger level

constexpr uint8_t kLcrDivisor = 0x80;

constexpr uint8_t kMcrDtr = 0x01;
constexpr uint8_t kMcrRts = 0x02;
constexpr uint8_t kMcrOut1 = 0x04;
constexpr uint8_t kMcrOut2 = 0x08;
constexpr uint8_t kMcrLoop = 0x10;
constexpr uint8_t kMcrMask = 0x1F;

constexpr uint8_t kLsrDataReady = 0x01;
constexpr uint8_t kLsrOverrun = 0x02;
constexpr uint8_t kLsrHoldingEmpty = 0x20;
constexpr uint8_t kLsrTransmitterEmpty = 0x40;

constexpr uint8_t kMsrTeri = 0x04;
constexpr uint8_t kMsrCts = 0x10;
constexpr uint8_t kMsrDsr = 0x20;
constexpr uint8_t kMsrRi = 0x40;
constexpr uint8_t kMsrDcd = 0x80;

constexpr size_t kFifoDepth = 16;

constexpr size_t trigger_level(uint8_t fifo_control) {
  constexpr size_t kLevels[] = {1, 4, 8, 14};
  return kLevels[fifo_control >> 6];
}

}  // namespace

Uart16550::Uart16550(uint16_t base, SerialPeer& peer, IrqLine irq)
    : base_(base), peer_(peer), irq_(std::move(irq)) {}

uint32_t Uart16550::read_port(uint16_t port, unsigned) {
  const uint8_t value = read_register((port - base_) & 7);
  update_irq();
  return value;
}

void Uart16550::write_port(uint16_t port, unsigned, uint32_t value) {
  write_register((port - base_) & 7, static_cast<uint8_t>(value));
  update_irq();
}

void Uart16550::transfer() {
  pump();
  update_irq();
}

uint8_t Uart16550::read_register(unsigned index) {
  const bool divisor = (line_control_ & kLcrDivisor) != 0;
  switch (index) {
    case kData:
      return divisor ? static_cast<uint8_t>(divisor_) : read_receive_buffer();
    case kIer:
      return divisor ? static_cast<uint8_t>(divisor_ >> 8) : interrupt_enable_;
    case kIirFcr:
      return read_interrupt_identification();
    case kLcr:
      return line_control_;
    case kMcr:
      return modem_control_;
    case kLsr: {
      uint8_t status = std::exchange(line_errors_, uint8_t{0});
      if (!receive_fifo_.empty()) status |= kLsrDataReady;
      if (transmit_fifo_.empty()) status |= kLsrHoldingEmpty | kLsrTransmitterEmpty;
      return status;
    }
    case kMsr: {
      const uint8_t status = modem_status();
      modem_delta_ = 0;
      return status;
    }
    default:
      return scratch_;
  }
}

void Uart16550::write_register(unsigned index, uint8_t value) {
  const bool divisor = (line_control_ & kLcrDivisor) != 0;
  switch (index) {
    case kData:
      if (divisor) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0xFF00) | value);
      } else {
        send(value);
      }
      break;
    case kIer:
      if (divisor) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0x00FF) | value << 8);
      } else {
        write_interrupt_enable(value);
      }
      break;
    case kIirFcr:
      write_fifo_control(value);
      break;
    case kLcr:
      line_control_ = value;
      break;
    case kMcr:
      write_modem_control(value);
      break;
    case kScratch:
      scratch_ = value;
      break;
    default:  // LSR and MSR are for factory tests only
      break;
  }
}

size_t Uart16550::depth() const {
  return (fifo_control_ & kFcrEnable) != 0 ? kFifoDepth : 1;
}

uint8_t Uart16550::read_receive_buffer() {
  if (receive_fifo_.empty()) return 0;
  const uint8_t byte = receive_fifo_.front();
  receive_fifo_.pop_front();
  pump();
  return byte;
}

uint8_t Uart16550::read_interrupt_identification() {
  const uint8_t cause = pending_interrupt();
  if (cause == kIirTransmit) transmit_empty_pending_ = false;
  return cause | ((fifo_control_ & kFcrEnable) != 0 ? kIirFifos : 0);
}

// In the data sheet's order of priority.
uint8_t Uart16550::pending_interrupt() const {
  if ((interrupt_enable_ & kIerLine) != 0 && line_errors_ != 0) return kIirLine;
  if ((interrupt_enable_ & kIerReceive) != 0 && !receive_fifo_.empty()) {
    const bool fifos = (fifo_control_ & kFcrEnable) != 0;
    const bool below = fifos && receive_fifo_.size() < trigger_level(fifo_control_);
    return below ? kIirTimeout : kIirReceive;
  }
  if ((interrupt_enable_ & kIerTransmit) != 0 && transmit_empty_pending_) return kIirTransmit;
  if ((interrupt_enable_ & kIerModem) != 0 && modem_delta_ != 0) return kIirModem;
  return kIirNone;
}

// Not in loopback the peer is always there: CTS, DSR and DCD are asserted.
uint8_t Uart16550::modem_status() {
  if ((modem_control_ & kMcrLoop) == 0) return kMsrCts | kMsrDsr | kMsrDcd | modem_delta_;
  uint8_t lines = 0;
  if ((modem_control_ & kMcrRts) != 0) lines |= kMsrCts;
  if ((modem_control_ & kMcrDtr) != 0) lines |= kMsrDsr;
  if ((modem_control_ & kMcrOut1) != 0) lines |= kMsrRi;
  if ((modem_control_ & kMcrOut2) != 0) lines |= kMsrDcd;
  return lines | modem_delta_;
}

void Uart16550::write_interrupt_enable(uint8_t value) {
  value &= kIerMask;
  // Enabling the transmit interrupt while the holding register is empty raises it.
  const bool newly = (value & ~interrupt_enable_ & kIerTransmit) != 0;
  if (newly && transmit_fifo_.empty()) transmit_empty_pending_ = true;
  interrupt_enable_ = value;
}

void Uart16550::write_fifo_control(uint8_t value) {
  const bool toggled = ((value ^ fifo_control_) & kFcrEnable) != 0;
  // The other bits take effect only together with the enable bit.
  fifo_control_ = (value & kFcrEnable) != 0 ? value & kFcrKept : 0;
  if (toggled || (value & kFcrClearReceive) != 0) receive_fifo_.clear();
  if (toggled || (value & kFcrClearTransmit) != 0) {
    transmit_fifo_.clear();
    transmit_empty_pending_ = true;
  }
  pump();
}

void Uart16550::write_modem_control(uint8_t value) {
  const uint8_t before = modem_status() & 0xF0;
  modem_control_ = value & kMcrMask;
  const uint8_t after = modem_status() & 0xF0;
  uint8_t delta = static_cast<uint8_t>((before ^ after) >> 4);
  // The ring indicator reports only its trailing edge.
  if ((after & kMsrRi) != 0) delta &= static_cast<uint8_t>(~kMsrTeri);
  modem_delta_ |= delta;
  pump();
}

void Uart16550::receive(uint8_t byte) {
  if (receive_fifo_.size() >= depth()) {
    line_errors_ |= kLsrOverrun;
    // With FIFOs the newcomer is lost, without them the old character is.
    if (depth() > 1) return;
    receive_fifo_.clear();
  }
  receive_fifo_.push_back(byte);
}

void Uart16550::send(uint8_t byte) {
  transmit_empty_pending_ = false;
  if ((modem_control_ & kMcrLoop) != 0) {
    receive(byte);
    transmit_empty_pending_ = true;
    return;
  }
  if (transmit_fifo_.size() >= depth()) transmit_fifo_.pop_back();  // an overrun replaces the last
  transmit_fifo_.push_back(byte);
  pump();
}

// Moves bytes between the FIFOs and the peer. In loopback the wire is cut.
void Uart16550::pump() {
  if ((modem_control_ & kMcrLoop) != 0) return;
  if (!transmit_fifo_.empty()) {
    while (!transmit_fifo_.empty() && peer_.put(transmit_fifo_.front())) transmit_fifo_.pop_front();
    if (transmit_fifo_.empty()) transmit_empty_pending_ = true;
  }
  while (receive_fifo_.size() < depth()) {
    const std::optional<uint8_t> byte = peer_.get();
    if (!byte) break;
    receive_fifo_.push_back(*byte);
  }
}

// On a PC the OUT2 pin gates the interrupt; loopback forces that pin inactive.
void Uart16550::update_irq() {
  const bool gate = (modem_control_ & (kMcrOut2 | kMcrLoop)) == kMcrOut2;
  const bool level = gate && pending_interrupt() != kIirNone;
  if (level == irq_level_) return;
  irq_level_ = level;
  irq_(level);
}

}  // namespace chipset
