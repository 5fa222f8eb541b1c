#include <algorithm>
#include <cmath>
#include <cstring>

#include "cuda/launch.hpp"
#include "cuda/pixels.hpp"
#include "cuda/render.hpp"
#include "cuda/render_draw.hpp"
#include "cuda/render_tables.hpp"
#include "cuda/upload.hpp"
#include "cuda/workspace.hpp"

namespace yf::cuda {
namespace {

constexpr int kThreads = 128;
// Strips of a warp, and 4 below: a compact one, which the edge of a tile seldom meets.
constexpr int kAcross = 8;
constexpr int kColumns = kAcross * kPixels, kBelow = kThreads / kAcross * kRows;  // pixels of a block

// ---------------------------------------------------------------------------------- first launch

__device__ Along along(const Neighbour& luma, const Neighbour& chroma) {
    return {luma.first, chroma.first, both_weights(static_cast<std::uint32_t>(luma.weight)),
            both_weights(static_cast<std::uint32_t>(chroma.weight))};
}

__device__ void set_column(const Tile& tile, int x, Along* out) {
    const PictureView& picture = tile.picture;
    const UprightAxes axes = upright_axes(tile);
    const int factor = picture.factor_x;
    *out = along(upright_column(axes.gain_x, axes.offset_x, x, max(picture.y.width, 2)),
                 upright_column(axes.gain_x / factor, axes.offset_x / factor, x, max(picture.cb.width, 2)));
}

__device__ void set_row(const Tile& tile, int y, Along* out) {
    const PictureView& picture = tile.picture;
    const UprightAxes axes = upright_axes(tile);
    const double at = axes.gain_y * (y + 0.5) + axes.offset_y;
    *out = along(upright_row(at, 1, max(picture.y.height, 2)),
                 upright_row(at, picture.factor_y, max(picture.cb.height, 2)));
}

__device__ void set_chunks(const Tile& tile, const TileEntry& entry, Span span, int y, ChunkEntry* out) {
    const PictureView& picture = tile.picture;
    const Projection projection = project(tile);
    for (int begin = span.begin; begin < span.end; begin += kChunk) {
        const int count = min(kChunk, span.end - begin);
        const ChunkPath path = path_of(projection, begin, y);
        const ChunkLines luma =
            lines_of(path, 1, 1, 0, max(picture.y.width, 2), max(picture.y.height, 2), count);
        ChunkLines chroma{};
        if (entry.cb != nullptr) {
            chroma = lines_of(path, 1.0 / picture.factor_x, 1.0 / picture.factor_y, entry.first_row,
                              max(picture.cb.width, 2), entry.rows, count);
        }
        *out++ = {{luma.columns.start, luma.columns.step},
                  {luma.rows.start, luma.rows.step},
                  {chroma.columns.start, chroma.columns.step},
                  {chroma.rows.start, chroma.rows.step},
                  luma.columns.base,
                  luma.rows.base,
                  chroma.columns.base,
                  chroma.rows.base,
                  static_cast<float>(path.depth_step)};
    }
}

// A thread per row of each tile, and per column of each upright one.
__global__ void __launch_bounds__(kThreads) locate_tiles(Tables tables, unsigned blocks_of_tile) {
    const auto t = static_cast<std::int64_t>(blockIdx.x / blocks_of_tile);
    const int i = static_cast<int>(blockIdx.x % blocks_of_tile * kThreads + threadIdx.x);
    const Tile& tile = tables.tiles[t];
    const TileEntry& entry = tables.entries[t];
    const std::int64_t slot = entry.slot;
    if (i < tables.height) {
        const std::int64_t row = slot * tables.height + i;
        if (entry.upright != 0) {
            set_row(tile, i, tables.rows + row);
        } else {
            const Span span = clipped(owned(tile, i, tables.width), i, entry.own);
            tables.spans[row] = span;
            set_chunks(tile, entry, span, i, tables.chunks + row * tables.chunks_of_row);
        }
    } else if (const int x = i - tables.height; x < tables.width && entry.upright != 0) {
        set_column(tile, x, tables.columns + slot * tables.width + x);
    }
}

// ---------------------------------------------------------------------------------- second launch

// A strip per thread.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    draw_pixels(Tables tables, unsigned blocks_across, unsigned blocks_of_sample, bool wide,
                T* __restrict__ out) {
    const auto sample = static_cast<std::int64_t>(blockIdx.x / blocks_of_sample);
    const unsigned part = blockIdx.x % blocks_of_sample, thread = threadIdx.x;
    const SampleEntry& entry = tables.samples[sample];
    const Colours colours = entry.colours;
    Strip<T> strip;
    strip.x = static_cast<int>(part % blocks_across * kColumns + thread % kAcross * kPixels);
    strip.top = static_cast<int>(part / blocks_across * kBelow + thread / kAcross * kRows);
    strip.inside = ~0u;
    strip.inside = strip.within({{0, tables.width}, {0, tables.height}});
    if (strip.inside == 0) return;
    const unsigned hole = strip.within(entry.hole), outside = strip.inside & ~hole;
    strip.width = tables.width;
    strip.plane = static_cast<std::int64_t>(tables.height) * tables.width;
    strip.wide = wide;
    strip.at =
        out + sample * kPlanes * strip.plane + static_cast<std::int64_t>(strip.top) * tables.width + strip.x;
#pragma unroll 1
    for (int layer = 0; layer < kLayers; ++layer) {
        if (layer == 1 && entry.weight == 32768) continue;
        strip.inside = layer == 2 ? hole : outside;
        strip.weight = layer == 1 ? entry.weight : 0;
        draw_layer(tables, entry.tiles[layer], entry.tiles[layer + 1], colours, strip);
    }
}

// ---------------------------------------------------------------------------------- the host's part

bool fits_grid(unsigned blocks, std::size_t times) { return times <= 0x7FFFFFFF / blocks; }

// What comes from the host: the first parts of the workspace.
struct HostParts {
    SampleEntry* samples;
    TileEntry* entries;
    Tile* tiles;
};

HostParts take_host_parts(Workspace& parts, std::size_t samples, std::size_t tiles) {
    return {parts.take<SampleEntry>(samples), parts.take<TileEntry>(tiles), parts.take<Tile>(tiles)};
}

// The addresses of all tables in one piece of memory; returns its size.
std::size_t lay_out(const RenderTable& table, void* workspace, Tables* out) {
    const auto h = static_cast<std::size_t>(table.height), w = static_cast<std::size_t>(table.width);
    Workspace parts(workspace);
    out->height = table.height;
    out->width = table.width;
    out->chunks_of_row = ceil_div(table.width, kChunk);
    const HostParts host = take_host_parts(parts, table.samples, table.tiles);
    out->samples = host.samples;
    out->entries = host.entries;
    out->tiles = host.tiles;
    out->columns = parts.take<Along>(table.upright() * w);
    out->rows = parts.take<Along>(table.upright() * h);
    out->spans = parts.take<Span>(table.general * h);
    out->chunks = parts.take<ChunkEntry>(table.general * h * static_cast<std::size_t>(out->chunks_of_row));
    return parts.used();
}

// Of a tile that shows inside `region` only.
TileEntry entry_of(const Tile& tile, int slot, int height, int width, const Rectangle& region) {
    const PictureView& picture = tile.picture;
    TileEntry entry{};
    entry.y = picture.y.data;
    entry.cb = picture.cb.data;
    entry.cr = picture.cr.data;
    entry.stride = static_cast<int>(picture.y.stride);
    entry.width = picture.y.width;
    entry.height = picture.y.height;
    entry.slot = slot;
    entry.upright = is_upright(tile) ? 1 : 0;
    entry.own = region;
    if (entry.upright != 0) {
        const Rectangle own = owned_rectangle(tile, height, width);
        entry.own.columns = clipped(own.columns, region.rows.begin, region);
        entry.own.rows = {std::max(own.rows.begin, region.rows.begin),
                          std::min(own.rows.end, region.rows.end)};
        if (entry.own.empty()) entry.own = {};
    }
    if (entry.cb == nullptr) return entry;
    entry.chroma_stride = static_cast<int>(picture.cb.stride);
    entry.chroma_width = picture.cb.width;
    entry.chroma_height = picture.cb.height;
    const Span rows = rows_of(tile, picture.factor_y, picture.cb.height);
    entry.first_row = rows.begin;
    entry.rows = rows.end - rows.begin;
    return entry;
}

template <typename T>
cudaError_t launch_drawing(const Tables& tables, std::size_t samples, void* out, cudaStream_t stream) {
    const auto across = static_cast<unsigned>(ceil_div(tables.width, kColumns)),
               below = static_cast<unsigned>(ceil_div(tables.height, kBelow));
    const unsigned of_sample = across * below;
    if (!fits_grid(of_sample, samples)) return cudaErrorInvalidConfiguration;
    T* const pixels = static_cast<T*>(out);
    return launch(draw_pixels<T>, static_cast<unsigned>(of_sample * samples), kThreads, stream, tables,
                  across, of_sample, rows_of_runs(pixels, tables.width), pixels);
}

}  // namespace

RenderTable render_table(const std::vector<RenderSample>& samples, int height, int width) {
    RenderTable table{{}, height, width, samples.size(), 0, 0};
    for (const RenderSample& sample : samples)
        for (const auto& layer : sample.layers) table.tiles += layer.size();
    Workspace sizes(nullptr);
    take_host_parts(sizes, table.samples, table.tiles);
    table.bytes.resize(sizes.used());
    Workspace parts(table.bytes.data());
    const HostParts host = take_host_parts(parts, table.samples, table.tiles);
    std::size_t next = 0, next_sample = 0;
    for (const RenderSample& sample : samples) {
        SampleEntry entry{};
        entry.weight = static_cast<std::int32_t>(std::lround(sample.mix * 32768.0));
        entry.colours = quantise(sample.colour);
        entry.hole = sample.hole;
        for (int layer = 0; layer < kLayers; ++layer) {
            const Rectangle region = layer == 2 ? sample.hole : Rectangle{{0, width}, {0, height}};
            entry.tiles[layer] = static_cast<int>(next);
            for (const Tile& tile : sample.layers[layer]) {
                const std::size_t slot = is_upright(tile) ? next - table.general : table.general++;
                const TileEntry of_tile = entry_of(tile, static_cast<int>(slot), height, width, region);
                std::memcpy(host.entries + next, &of_tile, sizeof of_tile);
                std::memcpy(host.tiles + next, &tile, sizeof tile);
                ++next;
            }
        }
        entry.tiles[kLayers] = static_cast<int>(next);
        std::memcpy(host.samples + next_sample++, &entry, sizeof entry);
    }
    return table;
}

std::size_t render_workspace(const RenderTable& table) {
    Tables tables{};
    return lay_out(table, nullptr, &tables);
}

cudaError_t render(const RenderTable& table, void* workspace, PixelType type, void* out,
                   cudaStream_t stream) {
    if (table.samples == 0) return cudaSuccess;
    Tables tables{};
    lay_out(table, workspace, &tables);
    const std::size_t of_tile =
        static_cast<std::size_t>(table.height) * tables.chunks_of_row + static_cast<std::size_t>(table.width);
    if (table.tiles > kMaxElements / of_tile) return cudaErrorInvalidConfiguration;
    cudaError_t status = upload(workspace, table.bytes.data(), table.bytes.size(), stream);
    if (status != cudaSuccess) return status;
    if (table.tiles > 0) {
        const auto blocks = static_cast<unsigned>(ceil_div(table.height + table.width, kThreads));
        if (!fits_grid(blocks, table.tiles)) return cudaErrorInvalidConfiguration;
        status = launch(locate_tiles, static_cast<unsigned>(blocks * table.tiles), kThreads, stream, tables,
                        blocks);
        if (status != cudaSuccess) return status;
    }
    switch (type) {
        case PixelType::kByte:
            return launch_drawing<std::uint8_t>(tables, table.samples, out, stream);
        case PixelType::kHalf:
            return launch_drawing<__half>(tables, table.samples, out, stream);
        case PixelType::kBfloat16:
            return launch_drawing<__nv_bfloat16>(tables, table.samples, out, stream);
        default:
            return launch_drawing<float>(tables, table.samples, out, stream);
    }
}

}  // namespace yf::cuda
