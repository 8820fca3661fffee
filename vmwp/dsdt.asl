// SPDX-License-Identifier: MIT
// The machine's ACPI namespace: what a stock kernel cannot find by itself. iasl compiles it during
// the build. Ports and interrupts are those of chipset/; the memory windows those of
// vmwp/guest_memory.h.
DefinitionBlock ("", "DSDT", 2, "PARTIT", "PARTITA", 0x00000001)
{
    Name (\_S5, Package (0x04) { 0x05, 0x05, 0x00, 0x00 })

    Scope (\_SB)
    {
        // VMBus, with what its devices may map: 104 MiB below the I/O APIC, 32 GiB above all memory.
        // "VMBus" is no PNP id, but it is the name by which guests know it.
        Device (VMOD)
        {
            Name (_HID, "ACPI0004")
            Name (_UID, Zero)

            Device (VMBS)
            {
                Name (_HID, "VMBus")
                Name (_DDN, "VMBUS")
                Name (_UID, Zero)
                Name (_STA, 0x0F)
                Name (_CRS, ResourceTemplate ()
                {
                    DWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, Cacheable,
                        ReadWrite, 0x00000000, 0xF8000000, 0xFE7FFFFF, 0x00000000, 0x06800000)
                    QWordMemory (ResourceConsumer, PosDecode, MinFixed, MaxFixed, Cacheable,
                        ReadWrite, 0x0000000000000000, 0x0000007000000000, 0x00000077FFFFFFFF,
                        0x0000000000000000, 0x0000000800000000)
                })
            }
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_DDN, "COM1")
            Name (_UID, One)
            Name (_STA, 0x0F)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08)
                IRQNoFlags () { 4 }
            })
        }

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 0x01, 0x02)
                IRQNoFlags () { 8 }
            })
        }

        Device (TIMR)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0040, 0x0040, 0x01, 0x04)
                IRQNoFlags () { 0 }
            })
        }

        // Ports that belong to the board, so that nobody else is given them.
        Device (BORD)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0020, 0x0020, 0x01, 0x02)
                IO (Decode16, 0x0061, 0x0061, 0x01, 0x01)
                IO (Decode16, 0x0080, 0x0080, 0x01, 0x01)
                IO (Decode16, 0x0092, 0x0092, 0x01, 0x01)
                IO (Decode16, 0x00A0, 0x00A0, 0x01, 0x02)
                IO (Decode16, 0x04D0, 0x04D0, 0x01, 0x02)
                IO (Decode16, 0x0600, 0x0600, 0x01, 0x0C)
            })
        }
    }
}
