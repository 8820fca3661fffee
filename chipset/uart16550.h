// SPDX-License-Identifier: MIT
// 16550A UART [TI PC16550D data sheet]: FIFOs, all interrupt sources, modem lines, loopback,
// divisor latch, scratch. The wire is infinitely fast: what the peer accepts is sent at once, and a
// receive FIFO below its trigger level is at once a character time-out.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>

#include "chipset/bus.h"

namespace chipset {

/// The other end of the wire.
class SerialPeer {
 public:
  virtual ~SerialPeer() = default;
  /// False: no room now; the UART keeps the byte and offers it again in transfer().
  virtual bool put(uint8_t byte) = 0;
  /// The next byte for the guest, if there is one.
  virtual std::optional<uint8_t> get() = 0;
};

class Uart16550 final : public PortDevice {
 public:
  static constexpr uint16_t kPortCount = 8;
  using IrqLine = std::function<void(bool level)>;

  Uart16550(uint16_t base, SerialPeer& peer, IrqLine irq);

  uint32_t read_port(uint16_t port, unsigned size) override;
  void write_port(uint16_t port, unsigned size, uint32_t value) override;

  /// The peer has bytes or room again: moves what can be moved in both directions.
  void transfer();

 private:
  uint8_t read_register(unsigned index);
  void write_register(unsigned index, uint8_t value);
  uint8_t read_receive_buffer();
  uint8_t read_interrupt_identification();
  uint8_t pending_interrupt() const;
  uint8_t modem_status();
  void write_interrupt_enable(uint8_t value);
  void write_fifo_control(uint8_t value);
  void write_modem_control(uint8_t value);
  void receive(uint8_t byte);
  void send(uint8_t byte);
  void pump();
  void update_irq();
  size_t depth() const;

  uint16_t base_;
  SerialPeer& peer_;
  IrqLine irq_;
  bool irq_level_ = false;

  std::deque<uint8_t> receive_fifo_;
  std::deque<uint8_t> transmit_fifo_;
  bool transmit_empty_pending_ = false;  // THRE interrupt, cleared by reading IIR
  uint8_t interrupt_enable_ = 0;
  uint8_t fifo_control_ = 0;
  uint8_t line_control_ = 0;
  uint8_t modem_control_ = 0;
  uint8_t line_errors_ = 0;
  uint8_t modem_delta_ = 0;
  uint8_t scratch_ = 0;
  uint16_t divisor_ = 1;
};

}  // namespace chipset
