// The engine behind a loader: jobs in, rendered samples or packed pictures out. Threads are the caller's:
// each calls `work` in a loop; nothing here starts one. No Python; what only Python can decode (PNG and the
// like) comes back to the caller of `work`, who hands it in with `supply`.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/pictures/guarded_mapping.hpp"
#include "core/pictures/hooks.hpp"
#include "core/pictures/picture.hpp"
#include "core/pictures/staging.hpp"

namespace yf {

// What is known of a picture's cached planes.
enum PlaneCheck : std::uint8_t { kUnchecked = 0, kAsWritten, kDamaged };

// Where the pictures come from. Arrays are borrowed and outlive the engine.
struct Sources {
    const char* paths;            // NUL-ended, one after the other
    const std::int64_t* path_at;  // [count]
    const std::int32_t* shapes;   // [count, 2] height, width
    int cover;                    // longer side that decoded pictures need, in pixels
    JpegDecoder decoder;
    // Decoded planes in memory, or null: see PlaneTable in yolofast/load/cache/planes.py.
    const std::uint64_t* cached;       // [count] address of y, 0 = not held
    const std::int32_t* cached_sides;  // [count, 6] height, width, c_height, c_width, factor_x, factor_y
    const double* cached_place;        // [count, 6]
    // Of planes that lie in a mapped file, else null. They are compared with their checksum before their
    // first use, and a picture whose planes are not what was written is decoded from its file.
    const std::uint64_t* checksums = nullptr;  // [count]
    std::uint8_t* checked = nullptr;           // [count] a PlaneCheck, written by any thread
    const GuardedMapping* mapping = nullptr;
    int compact_side = 0;  // if positive, what is decoded is made as the pictures in the cache were
};

// One sample to render: its tiles in plan order. Or one picture to pack: its image, and nothing else.
// Pointers are borrowed until the job is done.
struct Job {
    const std::int64_t* images;  // [tiles]
    const std::int64_t* layers;  // [tiles]
    const double* matrices;      // [tiles, 9]
    const double* windows;       // [tiles, 4]
    std::size_t tiles;
    double mix;
    const double* colour;  // [12]
    Rectangle hole;
    Planes out;
};

struct Failure {
    std::int64_t sample, image;
    PictureStatus status;
};

struct StageSeconds {
    double read = 0, decode = 0, render = 0, hooks = 0, pack = 0, wait = 0;
};

// Jobs that are done together.
struct JobBatch {
    std::vector<Job> jobs;
    Staging* staging = nullptr;       // where the jobs' pictures go, one per job; null: the jobs are samples
    HookedSamples* hooked = nullptr;  // what to run on the rendered samples, or null
    std::size_t remaining = 0;
    std::vector<Failure> failures;
    StageSeconds seconds;
};

enum class Work : int { done = 0, needs_fallback, stopped };

// What a thread keeps between two calls of `work`.
struct Worker {
    Renderer renderer;
    Bytes file;
    Picture full;  // before it is made compact
    std::vector<Tile> tiles;
    std::vector<std::shared_ptr<const Picture>> held;
    JobBatch* batch = nullptr;  // the job in hand
    std::size_t sample = 0;
    std::int64_t fallback_image = -1;  // what the caller has to decode
    StageSeconds seconds;              // of the job in hand
};

class Engine {
  public:
    // Idle pictures are kept up to `idle_bytes`, the longest unused going first.
    Engine(const Sources& sources, std::size_t idle_bytes) : sources_(sources), idle_bytes_(idle_bytes) {}

    // Announces that each image will be asked for `uses` more times: until then it stays once decoded.
    void expect(const std::int64_t* images, const std::int64_t* uses, std::size_t count);
    // Queues all jobs of a batch, which stays where it is until it is done or `reset` has returned.
    void submit(JobBatch* batch);
    // Runs queued jobs until `stop` (stopped), or until worker.fallback_image has to be decoded by the caller
    // (needs_fallback).
    Work work(Worker& worker);
    // Runs the jobs of `batch` that are not done yet, in this thread (done, or needs_fallback).
    Work run(Worker& worker, JobBatch& batch);
    // The picture of an image that is not a JPEG, or why there is none.
    void supply(std::int64_t image, std::shared_ptr<Picture> picture, const PictureStatus& status);
    // Gives up the job in hand, whose fallback image will not be supplied: a thread that waits for it then
    // decodes it.
    void abandon(Worker& worker);
    // Whether `batch` is done within `seconds`.
    bool wait(const JobBatch* batch, double seconds);
    // Drops queued jobs, waits for running ones, and forgets pictures and announcements.
    void reset();
    // Makes all calls of `work` return.
    void stop();
    std::size_t held_bytes();

  private:
    struct Entry {
        enum class State { empty, busy, ready } state = State::empty;
        std::shared_ptr<const Picture> picture;  // null when ready and failed
        PictureStatus status{PictureError::none, {}};
        std::int64_t uses = 0;
        std::list<std::int64_t>::iterator idle;
        bool is_idle = false;
    };

    bool perform(Worker& worker, JobBatch& batch);
    static void draw(Worker& worker, const Job& job);
    bool pack(Worker& worker, Staging& staging);
    bool mapping_is_lost() const;
    bool may_use_cached(std::int64_t image, StageSeconds& seconds);
    PictureStatus decode(std::int64_t image, Worker& worker, StageSeconds& seconds, Picture& out);
    PictureStatus acquire(std::int64_t image, Worker& worker, StageSeconds& seconds, PictureView* view);
    void release(const Job& job);
    void drop(std::int64_t image);
    void trim();
    std::int64_t pixels(std::int64_t image) const;
    std::shared_ptr<Picture> take_spare(std::int64_t image);

    const Sources sources_;
    const std::size_t idle_bytes_;
    std::mutex mutex_;
    std::condition_variable queued_, finished_, decoded_;
    std::deque<std::pair<JobBatch*, std::size_t>> queue_;
    std::unordered_map<std::int64_t, Entry> entries_;
    std::list<std::int64_t> idle_;  // longest unused first
    std::size_t idle_held_ = 0;
    std::vector<std::pair<std::int64_t, std::shared_ptr<Picture>>> spares_;  // by pixels, oldest first
    std::size_t held_ = 0, most_held_ = 0;                                   // pictures in entries_
    std::size_t running_ = 0;
    bool stopping_ = false;
};

}  // namespace yf
