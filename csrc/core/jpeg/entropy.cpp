// See entropy.hpp.
#include "core/jpeg/entropy.hpp"

namespace yf {

LongSymbol decode_long(BitReader reader, const LongCodes& codes) noexcept {
    reader.refill();
    const std::int32_t next = static_cast<std::int32_t>(reader.bits >> 48);
    for (int length = 1; length <= 16; ++length) {
        const std::int32_t code = next >> (16 - length);
        if (code > codes.max_code[length]) continue;
        const int symbol = codes.symbols[code + codes.offset[length]];
        const std::uint32_t size = static_cast<std::uint32_t>(symbol & 15);
        const std::uint32_t total = static_cast<std::uint32_t>(length) + size;
        const std::int16_t value = static_cast<std::int16_t>(last_value(reader.bits, total, size));
        reader.skip(total);
        return {reader, symbol, value};
    }
    return {reader, -1, 0};
}

}  // namespace yf
