// Drives the engine as a loader with many threads does: batches, shared and mixed-in pictures, cached planes,
// failing files, hooks, files that the caller decodes, pictures packed into memory that is too small for
// all, a cache file that is damaged and then cut short, resets in the middle, stop. Meant for ThreadSanitizer
// and AddressSanitizer; it also checks that each sample and each packed picture is the one that a single
// thread makes.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include "core/pictures/checksum.hpp"
#include "core/pictures/engine.hpp"
#include "core/pictures/guarded_mapping.hpp"

// clang-format off: jpeglib.h needs <cstdio> before it.
#include <jpeglib.h>
// clang-format on

namespace {

constexpr int kImages = 24, kSide = 40, kThreads = 4, kRounds = 60, kSamples = 6, kTiles = 4;
enum class Kind { jpeg, cached, not_jpeg, refused, missing, empty, damaged };

// Bad files are few, so that most samples can be compared.
Kind kind_of(std::int64_t image) {
    constexpr Kind kBad[] = {Kind::refused, Kind::missing, Kind::empty, Kind::damaged};
    if (image >= kImages - 4) return kBad[image - (kImages - 4)];
    return image % 4 == 3 ? Kind::not_jpeg : image % 4 == 2 ? Kind::cached : Kind::jpeg;
}

bool is_bad(std::int64_t image) { return image >= kImages - 4; }

int width_of(std::int64_t image) { return 33 + 3 * static_cast<int>(image); }
int height_of(std::int64_t image) { return 70 - static_cast<int>(image); }

void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "stress: %s\n", what);
    std::abort();
}

std::vector<std::uint8_t> pixels_of(std::int64_t image) {
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(3 * width_of(image) * height_of(image)));
    for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<std::uint8_t>(i * (image + 3) / 7);
    return rgb;
}

std::vector<std::uint8_t> encode(std::int64_t image) {
    jpeg_compress_struct cinfo;
    jpeg_error_mgr errors;
    cinfo.err = jpeg_std_error(&errors);
    jpeg_create_compress(&cinfo);
    unsigned char* bytes = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&cinfo, &bytes, &size);
    cinfo.image_width = static_cast<JDIMENSION>(width_of(image));
    cinfo.image_height = static_cast<JDIMENSION>(height_of(image));
    cinfo.input_components = 3;
    cinfo.in_color_space = JCS_RGB;
    jpeg_set_defaults(&cinfo);
    jpeg_start_compress(&cinfo, TRUE);
    std::vector<std::uint8_t> rgb = pixels_of(image);
    while (cinfo.next_scanline < cinfo.image_height) {
        JSAMPROW row = rgb.data() + 3 * cinfo.image_width * cinfo.next_scanline;
        jpeg_write_scanlines(&cinfo, &row, 1);
    }
    jpeg_finish_compress(&cinfo);
    jpeg_destroy_compress(&cinfo);
    std::vector<std::uint8_t> result(bytes, bytes + size);
    std::free(bytes);
    return result;
}

void convert(std::int64_t image, yf::Picture& out) {
    const std::vector<std::uint8_t> rgb = pixels_of(image);
    yf::convert_rgb({rgb.data(), 3 * width_of(image), height_of(image), width_of(image)}, out);
}

// The files, the cached planes, and the arrays that tell the engine of them.
struct Dataset {
    std::string paths;
    std::int64_t path_at[kImages];
    std::int32_t shapes[2 * kImages];
    std::vector<std::vector<std::uint8_t>> planes{kImages};  // packed, with the padding of a slot
    std::uint64_t cached[kImages] = {};
    std::int32_t sides[6 * kImages] = {};
    double place[6 * kImages] = {};

    explicit Dataset(const std::filesystem::path& folder) {
        std::filesystem::create_directories(folder);
        for (std::int64_t i = 0; i < kImages; ++i) {
            const std::string path = (folder / std::to_string(i)).string();
            path_at[i] = static_cast<std::int64_t>(paths.size());
            paths += path + '\0';
            shapes[2 * i] = height_of(i);
            shapes[2 * i + 1] = width_of(i);
            write(i, path);
            if (kind_of(i) == Kind::cached) hold(i);
        }
    }

    static void write(std::int64_t image, const std::string& path) {
        const Kind kind = kind_of(image);
        std::filesystem::remove(path);
        if (kind == Kind::missing) return;
        std::vector<std::uint8_t> bytes;
        if (kind == Kind::jpeg || kind == Kind::damaged) bytes = encode(image);
        if (kind == Kind::damaged) bytes.resize(bytes.size() / 2);
        if (kind == Kind::not_jpeg || kind == Kind::refused || kind == Kind::cached)
            bytes = {0x89, 'P', 'N', 'G', 1, 2, 3, 4};
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }

    void hold(std::int64_t image) {
        yf::Picture picture;
        convert(image, picture);
        const yf::PictureView& view = picture.view;
        std::vector<std::uint8_t>& packed = planes[static_cast<std::size_t>(image)];
        for (const yf::PlaneView* plane : {&view.y, &view.cb, &view.cr})
            for (int row = 0; row < plane->height; ++row) {
                const std::uint8_t* begin = plane->data + row * plane->stride;
                packed.insert(packed.end(), begin, begin + plane->width);
            }
        packed.resize(yf::slot_bytes(packed.size()));
        cached[image] = reinterpret_cast<std::uintptr_t>(packed.data());
        const std::int32_t row[6] = {view.y.height, view.y.width,  view.cb.height,
                                     view.cb.width, view.factor_x, view.factor_y};
        std::memcpy(sides + 6 * image, row, sizeof row);
        std::memcpy(place + 6 * image, view.place, sizeof view.place);
    }

    yf::Sources sources() const {
        return {paths.data(), path_at, shapes, 48, yf::JpegDecoder::automatic, cached, sides, place};
    }
};

// The same planes in a mapped file, one picture of it damaged.
struct MappedPlanes {
    std::string path;
    std::uint64_t cached[kImages] = {}, checksums[kImages] = {};
    std::uint8_t checked[kImages] = {};
    yf::GuardedMapping mapping;

    MappedPlanes(const Dataset& dataset, std::string file) : path(std::move(file)) {
        std::vector<std::uint8_t> bytes;
        for (std::size_t i = 0; i < kImages; ++i) {
            const std::vector<std::uint8_t>& planes = dataset.planes[i];
            if (planes.empty()) continue;
            cached[i] = bytes.size();
            checksums[i] = yf::checksum(planes.data(), planes.size());
            bytes.insert(bytes.end(), planes.begin(), planes.end());
        }
        bytes[100] ^= 4;
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        const int descriptor = ::open(path.c_str(), O_RDONLY);
        require(mapping.map(descriptor, bytes.size()) == 0, "the planes are mapped");
        ::close(descriptor);
        for (std::size_t i = 0; i < kImages; ++i)
            if (!dataset.planes[i].empty()) cached[i] += reinterpret_cast<std::uintptr_t>(mapping.data());
    }

    void cut_short() const { require(::truncate(path.c_str(), 0) == 0, "the file is cut short"); }

    yf::Sources sources(const Dataset& dataset) {
        yf::Sources sources = dataset.sources();
        sources.cached = cached;
        sources.checksums = checksums;
        sources.checked = checked;
        sources.mapping = &mapping;
        return sources;
    }
};

constexpr int kLabels = 3;  // of each sample

// A hook that changes pixels and labels and drops a label of every other sample; or fails, as the draw says.
std::int64_t change(void* calls, std::int64_t sample, std::uint8_t* image, std::int64_t height,
                    std::int64_t width, float* labels, std::int64_t count, const double* draws) {
    static_cast<std::atomic<int>*>(calls)[sample] += 1;
    const auto mask = static_cast<std::uint8_t>(256 * draws[0]);
    for (std::int64_t i = 0; i < 3 * height * width; ++i) image[i] ^= mask;
    for (std::int64_t i = 0; i < count; ++i) labels[5 * i + 1] += static_cast<float>(draws[0]);
    if (draws[0] < 0.05) return yf::kHookRaised;
    if (draws[0] < 0.1) return count + 1;
    if (draws[0] < 0.15) labels[0] = -1;
    return count - sample % 2;
}

// A batch with the arrays that its jobs borrow.
struct Plan {
    std::vector<std::int64_t> images, layers;
    std::vector<double> matrices, windows, colour;
    std::vector<std::uint8_t> pixels;
    std::vector<float> labels;
    std::vector<std::int64_t> offsets, kept;
    std::vector<double> draws;
    std::vector<yf::HookOutcome> outcomes;
    std::atomic<int> calls[kSamples] = {};
    yf::HookedSamples hooked;
    yf::JobBatch batch;

    explicit Plan(unsigned seed) {
        std::mt19937 random(seed);
        const auto below = [&](int count) {
            return static_cast<int>(random() % static_cast<unsigned>(count));
        };
        colour = {1, 0, 1.402, -179.456, 1, -0.344136, -0.714136, 135.459, 1, 1.772, 0, -226.816};
        pixels.resize(kSamples * 3 * kSide * kSide);
        for (int t = 0; t < kSamples * kTiles; ++t) {
            const int image = below(20) == 0 ? below(kImages) : below(kImages - 4);
            images.push_back(image);
            layers.push_back(t % kTiles == 3 ? 1 + t / kTiles % 2 : 0);
            const double turn = t % 3 == 0 ? 0.3 : 0.0, step = 1.0 + below(8) / 4.0;
            const double matrix[9] = {step, -turn, below(20) - 10.0, turn, step, below(20) - 10.0, 0, 0, 1};
            matrices.insert(matrices.end(), matrix, matrix + 9);
            const double window[4] = {0, 0, 1.0 * width_of(image), 1.0 * height_of(image)};
            windows.insert(windows.end(), window, window + 4);
        }
        constexpr std::ptrdiff_t plane = kSide * kSide;
        for (int s = 0; s < kSamples; ++s) {
            const std::size_t first = static_cast<std::size_t>(s * kTiles);
            batch.jobs.push_back(
                {&images[first],
                 &layers[first],
                 &matrices[9 * first],
                 &windows[4 * first],
                 kTiles,
                 s % 2 == 0 ? 1.0 : 0.5,
                 colour.data(),
                 s % 3 == 0 ? yf::Rectangle{{3, kSide - 5}, {s % 7, kSide - 1}} : yf::Rectangle{},
                 {pixels.data() + 3 * plane * s, plane, kSide, kSide, kSide}});
        }
        batch.remaining = batch.jobs.size();
        labels.assign(kSamples * kLabels * 5, 0.5f);
        for (std::size_t i = 0; i < labels.size(); i += 5) labels[i] = 0;  // the class
        for (int s = 0; s <= kSamples; ++s) offsets.push_back(s * kLabels);
        kept.assign(kSamples, kLabels);
        for (int i = 0; i < kSamples * 2; ++i) draws.push_back(below(1000) / 1000.0);
        outcomes.resize(kSamples);
        hooked = {{{change, calls, 1}, {change, calls, 1}},
                  labels.data(),
                  offsets.data(),
                  kept.data(),
                  draws.data(),
                  1,
                  outcomes.data()};
        batch.hooked = &hooked;
    }

    void announce(yf::Engine& engine) const {
        for (const std::int64_t image : images) {
            const std::int64_t once = 1;
            engine.expect(&image, &once, 1);
        }
    }

    bool is_drawn(int sample) const {
        for (int t = 0; t < kTiles; ++t)
            if (is_bad(images[static_cast<std::size_t>(sample * kTiles + t)])) return false;
        return true;
    }
};

// What Python does with an image that is no JPEG.
void supply(yf::Engine& engine, std::int64_t image) {
    auto picture = std::make_shared<yf::Picture>();
    yf::PictureStatus status{yf::PictureError::none, {}};
    if (kind_of(image) == Kind::refused)
        status = {yf::PictureError::refused, "refused"};
    else
        convert(image, *picture);
    engine.supply(image, std::move(picture), status);
}

// Pictures to be packed, with the arrays that the jobs borrow.
struct Packing {
    std::vector<std::int64_t> images, rows, sizes;
    std::vector<double> places;
    std::vector<std::uint8_t> memory;
    yf::Staging staging;
    yf::JobBatch batch;

    Packing(std::vector<std::int64_t> wanted, std::size_t capacity)
        : images(std::move(wanted)),
          rows(images.size() * yf::kPictureColumns, -1),
          sizes(images.size()),
          places(6 * images.size()),
          memory(capacity),
          staging{memory.data(), capacity, rows.data(), places.data(), sizes.data()} {
        for (const std::int64_t& image : images)
            batch.jobs.push_back({&image, nullptr, nullptr, nullptr, 1, 1.0, nullptr, {}});
        batch.staging = &staging;
        batch.remaining = batch.jobs.size();
    }

    static std::vector<std::int64_t> draw(unsigned seed) {
        std::mt19937 random(seed);
        std::vector<std::int64_t> drawn(10);
        for (std::int64_t& image : drawn) image = random() % kImages;
        return drawn;
    }

    void announce(yf::Engine& engine) const {
        const std::int64_t once = 1;
        for (const std::int64_t image : images) engine.expect(&image, &once, 1);
    }

    const std::int64_t* row(std::size_t i) const { return &rows[i * yf::kPictureColumns]; }

    // Those that are neither there nor failed.
    std::vector<std::int64_t> left() const {
        std::vector<std::int64_t> rest;
        for (std::size_t i = 0; i < images.size(); ++i)
            if (row(i)[yf::kOffsetY] < 0 && !is_bad(images[i])) rest.push_back(images[i]);
        return rest;
    }
};

void work(yf::Engine& engine) {
    yf::Worker worker;
    while (engine.work(worker) == yf::Work::needs_fallback) supply(engine, worker.fallback_image);
}

template <class Jobs>
void run(yf::Engine& engine, Jobs& jobs) {
    yf::Worker worker;
    jobs.announce(engine);
    while (engine.run(worker, jobs.batch) == yf::Work::needs_fallback) supply(engine, worker.fallback_image);
}

void compare(const Plan& plan, const Plan& expected) {
    std::size_t bad = 0;
    for (std::size_t t = 0; t < plan.images.size(); ++t) bad += is_bad(plan.images[t]);
    require(plan.batch.failures.size() == bad, "each bad tile is a failure, and nothing else is");
    for (const yf::Failure& failure : plan.batch.failures)
        require(is_bad(failure.image) && failure.status.reason[0] != 0,
                "a failure names its image and reason");
    constexpr std::size_t size = 3 * kSide * kSide;
    for (int s = 0; s < kSamples; ++s)
        require(
            !plan.is_drawn(s) || std::memcmp(&plan.pixels[s * size], &expected.pixels[s * size], size) == 0,
            "a sample is the one that a single thread renders");
    for (std::size_t s = 0; s < kSamples; ++s) {
        if (!plan.is_drawn(static_cast<int>(s))) {
            require(plan.calls[s] == 0, "hooks see rendered samples only");
            continue;
        }
        const bool stopped = plan.outcomes[s].error != yf::HookError::none && plan.outcomes[s].hook == 0;
        require(plan.calls[s] == (stopped ? 1 : 2), "each hook runs once, and none after one that failed");
        require(plan.kept[s] == expected.kept[s] && plan.outcomes[s].error == expected.outcomes[s].error,
                "hooks end as in a single thread");
        const std::size_t first = s * kLabels * 5;
        require(std::memcmp(&plan.labels[first], &expected.labels[first], kLabels * 5 * sizeof(float)) == 0,
                "labels are those that a single thread makes");
    }
}

bool same_planes(const Packing& a, std::size_t i, const Packing& b, std::size_t j) {
    const std::int64_t *x = a.row(i), *y = b.row(j);
    if (std::memcmp(x + yf::kStrideY, y + yf::kStrideY, 8 * sizeof *x) != 0) return false;
    const std::int64_t sizes[3] = {x[yf::kStrideY] * x[yf::kHeight], x[yf::kStrideC] * x[yf::kHeightC],
                                   x[yf::kStrideC] * x[yf::kHeightC]};
    for (int plane = 0; plane < 3; ++plane) {
        if ((x[plane] < 0) != (y[plane] < 0)) return false;
        if (x[plane] < 0) continue;
        if (static_cast<std::size_t>(x[plane] + sizes[plane]) > a.staging.used) return false;
        if (std::memcmp(&a.memory[static_cast<std::size_t>(x[plane])],
                        &b.memory[static_cast<std::size_t>(y[plane])],
                        static_cast<std::size_t>(sizes[plane])) != 0)
            return false;
    }
    return std::memcmp(&a.places[6 * i], &b.places[6 * j], 6 * sizeof(double)) == 0;
}

// Every picture comes into one memory or a later one, as a single thread packs it; `single` is done with it.
void pack_all(yf::Engine& engine, yf::Engine& single, unsigned seed) {
    Packing expected(Packing::draw(seed), 1 << 18);
    run(single, expected);
    require(expected.left().empty(), "pictures that have room are there");
    std::vector<std::int64_t> wanted = expected.images;
    std::size_t capacity = 4000 + 64 * (seed % 100);  // a picture or two, or none
    for (bool first = true; !wanted.empty(); first = false) {
        Packing packing(wanted, capacity);
        if (first) packing.announce(engine);
        engine.submit(&packing.batch);
        require(engine.wait(&packing.batch, 60), "a chunk is done in a minute");
        require(packing.staging.used <= capacity, "no more is packed than fits");
        std::size_t bad = 0, there = 0;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            bad += is_bad(wanted[i]);
            if (packing.row(i)[yf::kOffsetY] < 0) continue;
            ++there;
            const auto at = std::find(expected.images.begin(), expected.images.end(), wanted[i]);
            require(same_planes(packing, i, expected, static_cast<std::size_t>(at - expected.images.begin())),
                    "a packed picture is the one that a single thread packs");
        }
        require(packing.batch.failures.size() == bad, "each bad picture is a failure, and nothing else is");
        wanted = packing.left();
        require(first || there > 0, "memory that is large enough for one picture takes one");
        for (std::size_t i = 0; i < packing.images.size(); ++i)
            if (!wanted.empty() && packing.images[i] == wanted[0])
                capacity = std::max(capacity, static_cast<std::size_t>(packing.sizes[i]));
    }
}

// `mapped` are the planes that the threads use, or null: those in memory.
void stress(const Dataset& dataset, std::size_t idle_bytes, MappedPlanes* mapped) {
    yf::Engine engine(mapped != nullptr ? mapped->sources(dataset) : dataset.sources(), idle_bytes),
        alone(dataset.sources(), 0), packs(dataset.sources(), 0);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) threads.emplace_back([&] { work(engine); });
    std::atomic<bool> done{false};
    threads.emplace_back([&] {  // somebody who asks how much is held, and renders for himself
        for (unsigned seed = 1000; !done; ++seed) {
            Plan mine(seed), expected(seed);
            run(engine, mine);
            engine.held_bytes();
            compare(mine, (run(alone, expected), expected));
        }
    });
    for (unsigned round = 0; round < kRounds; ++round) {
        Plan first(2 * round), second(2 * round + 1), expected(2 * round);
        for (Plan* plan : {&first, &second}) {
            plan->announce(engine);
            engine.submit(&plan->batch);
        }
        Packing dropped(Packing::draw(round), 20000);
        if (round % 5 == 4) {
            dropped.announce(engine);
            engine.submit(&dropped.batch);
            engine.reset();  // what is queued is dropped; the batches may go
            continue;
        }
        if (mapped != nullptr && round == kRounds / 2) mapped->cut_short();
        pack_all(engine, packs, 3000 + round);
        require(engine.wait(&first.batch, 60) && engine.wait(&second.batch, 1e300),
                "a batch is done in a minute");
        yf::Engine single(dataset.sources(), 0);
        run(single, expected);
        compare(first, expected);
        require(single.held_bytes() == 0, "nothing is held once it is used up");
    }
    done = true;
    threads.back().join();
    threads.pop_back();
    engine.reset();
    require(engine.held_bytes() == 0, "nothing is held after a reset");
    engine.stop();
    for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s FOLDER_FOR_ITS_FILES\n", argv[0]);
        return 2;
    }
    const Dataset dataset(argv[1]);
    for (const std::size_t idle_bytes : {std::size_t{0}, std::size_t{20000}, std::size_t{1} << 30}) {
        stress(dataset, idle_bytes, nullptr);
        MappedPlanes mapped(dataset, std::string(argv[1]) + "/planes");
        stress(dataset, idle_bytes, &mapped);
        const yf::MappingState& state = *mapped.mapping.state();
        require(state.damaged.load() == 1, "the damaged picture is noticed, once");
        require(state.lost.load(), "the file that was cut short is noticed");
    }
    std::puts("the engine holds");
    return 0;
}
