// A TIFF's size and kind of picture from its first directory, wherever that lies. See image_header.hpp.
#include <algorithm>

#include "core/files/header_fields.hpp"

namespace yf {
namespace {

constexpr std::size_t kMaxEntries = 512;  // of a directory; ordinary ones have some twenty
constexpr int kMaxFarClaims = 4;  // sizes that lie elsewhere; ordinary files have the bits of samples there

// What the first directory of a TIFF says; `is_common` is false once a value is unusual.
struct Directory {
    std::uint64_t width = 0, height = 0, bits = 1, coding = 1, photometric = 99, samples = 1, planes = 1,
                  orientation = 1;
    std::uint64_t last_piece = 0, last_size = 0;  // the last strip or tile, and its bytes
    bool is_common = true;

    // The field of a tag's value; null for tags that do not matter here.
    std::uint64_t* value_of(std::uint64_t tag) {
        switch (tag) {
            case 256:
                return &width;
            case 257:
                return &height;
            case 258:
                return &bits;
            case 259:
                return &coding;
            case 262:
                return &photometric;
            case 273:
            case 324:
                return &last_piece;
            case 274:
                return &orientation;
            case 277:
                return &samples;
            case 279:
            case 325:
                return &last_size;
            case 284:
                return &planes;
            default:
                return nullptr;
        }
    }
};

// Bytes of a value; 0 where the type is not one of whole numbers.
std::size_t type_size(std::uint64_t type) {
    constexpr std::uint8_t kBytes[] = {0, 1, 0, 2, 4, 0, 1, 0, 2, 4, 0, 0, 0, 4, 0, 0, 8, 8, 8};
    return type < sizeof kBytes ? kBytes[type] : 0;
}

// One entry of a directory: tag, type, how many values, and where they are unless they are few.
struct Entry {
    const Fields& fields;
    std::size_t at;
    bool big;

    std::uint64_t tag() const { return fields.number(at, 2); }
    std::uint64_t count() const { return fields.number(at + 4, big ? 8 : 4); }

    // Whether its values stand in the entry itself.
    bool is_near() const {
        const std::size_t bytes = type_size(fields.number(at + 2, 2));
        return bytes != 0 && count() <= (big ? 8 : 4) / bytes;
    }

    // Its value number `index`, which is below `count`; false when it is no whole number, or not there.
    bool value(HeaderFile& file, std::uint64_t index, std::uint64_t* out, std::ptrdiff_t* failed) const {
        const std::size_t bytes = type_size(fields.number(at + 2, 2)), room = big ? 8 : 4;
        const std::size_t begin = at + (big ? 12 : 8);
        if (bytes == 0) return false;
        if (is_near()) {
            *out = fields.number(begin + static_cast<std::size_t>(index) * bytes, bytes);
            return true;
        }
        const std::uint64_t start = fields.number(begin, room);
        std::uint8_t text[8];
        if (start > file.header.bytes || index > file.header.bytes / bytes) return false;  // so no overflow
        if (!file.fetch(start + index * bytes, text, bytes, failed)) return false;
        *out = Fields(text, bytes, fields.little()).number(0, bytes);
        return true;
    }
};

// What a decoder may have to hold: the largest sides that any entry states for the picture and for a tile,
// whatever the order and the types of the entries are, because decoders are lenient about them.
void note_claims(HeaderFile& file, const Fields& fields, std::size_t count, bool big,
                 std::ptrdiff_t* failed) {
    constexpr std::uint64_t kUnbounded = UINT64_MAX;
    std::uint64_t width = 0, height = 0, tile_width = 0, tile_height = 0, bits = 1, samples = 1;
    int far = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const Entry entry{fields, i * (big ? 20 : 12), big};
        const std::uint64_t tag = entry.tag();
        std::uint64_t* claim = tag == 256   ? &width
                               : tag == 257 ? &height
                               : tag == 258 ? &bits
                               : tag == 277 ? &samples
                               : tag == 322 ? &tile_width
                               : tag == 323 ? &tile_height
                                            : nullptr;
        std::uint64_t value = 0;
        if (claim == nullptr || entry.count() == 0) continue;
        if (!entry.is_near() && ++far > kMaxFarClaims)
            *claim = kUnbounded;
        else if (entry.value(file, 0, &value, failed))
            *claim = std::max(*claim, value);
    }
    constexpr std::uint64_t kMost = 0xFFFF;  // both are numbers of 16 bits
    file.header.depth = static_cast<std::int64_t>(std::min(bits, kMost) * std::min(samples, kMost));
    file.holds(width, height);
    file.holds(tile_width, tile_height);
}

Directory read_directory(HeaderFile& file, const Fields& fields, std::size_t count, bool big,
                         std::ptrdiff_t* failed) {
    Directory directory;
    std::uint64_t last_tag = 0;
    for (std::size_t i = 0; i < count && directory.is_common; ++i) {
        const Entry entry{fields, i * (big ? 20 : 12), big};
        const std::uint64_t tag = entry.tag(), values = entry.count();
        directory.is_common = i == 0 || tag > last_tag;  // in order and each once, as the format wants it
        last_tag = tag;
        std::uint64_t* value = directory.value_of(tag);
        if (value == nullptr || !directory.is_common) continue;
        const bool pieces = value == &directory.last_piece || value == &directory.last_size;
        const bool single = !pieces && value != &directory.bits;
        directory.is_common = values >= 1 && !(single && values != 1) &&
                              entry.value(file, pieces ? values - 1 : 0, value, failed);
    }
    return directory;
}

// Whether OpenCV reads all pictures of this kind. It turns them upright by itself, and where that swaps the
// sides only decoding them is trusted to say so.
bool is_usual(const Directory& directory) {
    const std::uint64_t bits = directory.bits, coding = directory.coding;
    return directory.is_common && (bits == 1 || bits == 2 || bits == 4 || bits == 8 || bits == 16) &&
           ((coding >= 1 && coding <= 5) || coding == 7 || coding == 8 || coding == 32946 ||
            coding == 32773) &&
           directory.planes == 1 && directory.orientation <= 4;
}

// False where what the picture is made of is not as usual.
bool name_mode(const Directory& directory, PixelMode* mode) {
    const bool more = directory.samples > 1;
    switch (directory.photometric) {
        case 0:
        case 1:
            *mode = more ? PixelMode::gray_alpha : PixelMode::gray;
            return directory.samples <= 2;
        case 2:
            *mode = directory.samples > 3 ? PixelMode::rgba : PixelMode::rgb;
            break;
        case 3:
            *mode = PixelMode::palette;
            return !more;
        case 5:
            *mode = PixelMode::cmyk;
            return directory.samples >= 4;
        case 6:
            *mode = PixelMode::rgb;
            break;
        default:
            return false;
    }
    return directory.samples == 3 || directory.samples == 4;
}

}  // namespace

ImageHeader read_tiff(HeaderFile& file, bool little, bool big) {
    const Fields head = file.fields(little);
    if (!head.has(0, big ? 16 : 8) || (big && (head.number(4, 2) != 8 || head.number(6, 2) != 0)))
        return file.end(HeaderStatus::unusual);
    const std::uint64_t start = head.number(big ? 8 : 4, big ? 8 : 4);
    std::uint8_t bytes[kMaxEntries * 20];
    std::ptrdiff_t failed = 0;
    const std::size_t lead = big ? 8 : 2;
    bool there = file.fetch(start, bytes, lead, &failed);
    const std::uint64_t count = there ? Fields(bytes, lead, little).number(0, lead) : 0;
    const std::size_t size =
        static_cast<std::size_t>(std::min<std::uint64_t>(count, kMaxEntries)) * (big ? 20 : 12);
    there = there && count <= kMaxEntries && file.fetch(start + lead, bytes, size, &failed);
    Directory directory;
    if (there) {
        const Fields entries(bytes, size, little);
        note_claims(file, entries, static_cast<std::size_t>(count), big, &failed);
        directory = read_directory(file, entries, static_cast<std::size_t>(count), big, &failed);
    }
    if (failed < 0) return file.fail(failed);
    if (there && directory.orientation >= 1 && directory.orientation <= 8)
        file.header.orientation = static_cast<std::int8_t>(directory.orientation);
    if (!there || !is_usual(directory) || !name_mode(directory, &file.header.mode))
        return file.end(HeaderStatus::unusual);
    file.header.complete = directory.last_piece <= file.header.bytes &&
                           file.header.bytes - directory.last_piece >= directory.last_size;
    file.header.bits = static_cast<std::int32_t>(directory.bits);
    return file.sized(directory.width, directory.height);
}

}  // namespace yf
