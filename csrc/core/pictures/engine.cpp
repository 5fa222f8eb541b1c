// See engine.hpp.
#include "core/pictures/engine.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "core/pictures/checksum.hpp"

namespace yf {
namespace {

constexpr std::size_t kSpares = 64;  // pictures in memory, in use or spare, that are always allowed
constexpr double kForever = 1e9;     // seconds; a clock that counts nanoseconds cannot add much more

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

PictureView cached_view(const Sources& sources, std::int64_t image) {
    const std::int32_t* sides = sources.cached_sides + 6 * image;
    const auto* y = reinterpret_cast<const std::uint8_t*>(static_cast<std::uintptr_t>(sources.cached[image]));
    const std::ptrdiff_t luma = static_cast<std::ptrdiff_t>(sides[0]) * sides[1];
    const std::ptrdiff_t chroma = static_cast<std::ptrdiff_t>(sides[2]) * sides[3];
    PictureView view{};
    view.y = {y, sides[1], sides[0], sides[1]};
    if (chroma > 0) {
        view.cb = {y + luma, sides[3], sides[2], sides[3]};
        view.cr = {y + luma + chroma, sides[3], sides[2], sides[3]};
    }
    view.factor_x = sides[4];
    view.factor_y = sides[5];
    std::memcpy(view.place, sources.cached_place + 6 * image, sizeof view.place);
    return view;
}

std::uint64_t checksum_of_cached(const Sources& sources, std::int64_t image) {
    const PictureView view = cached_view(sources, image);
    const std::size_t luma = static_cast<std::size_t>(view.y.height) * static_cast<std::size_t>(view.y.width);
    const std::size_t chroma =
        static_cast<std::size_t>(view.cb.height) * static_cast<std::size_t>(view.cb.width);
    return checksum(view.y.data, slot_bytes(luma + 2 * chroma));
}

}  // namespace

void Engine::expect(const std::int64_t* images, const std::int64_t* uses, std::size_t count) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < count; ++i) {
        Entry& entry = entries_[images[i]];
        entry.uses += uses[i];
        if (entry.is_idle) {
            idle_held_ -= entry.picture->memory.size();
            idle_.erase(entry.idle);
            entry.is_idle = false;
        }
    }
}

void Engine::submit(JobBatch* batch) {
    const std::lock_guard lock(mutex_);
    batch->remaining = batch->jobs.size();
    for (std::size_t i = 0; i < batch->jobs.size(); ++i) queue_.emplace_back(batch, i);
    queued_.notify_all();
}

Work Engine::work(Worker& worker) {
    for (;;) {
        if (worker.batch == nullptr) {
            std::unique_lock lock(mutex_);
            queued_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
            if (stopping_) return Work::stopped;
            std::tie(worker.batch, worker.sample) = queue_.front();
            queue_.pop_front();
            ++running_;
        }
        if (!perform(worker, *worker.batch)) return Work::needs_fallback;
        const std::lock_guard lock(mutex_);
        --worker.batch->remaining;
        --running_;
        worker.batch = nullptr;
        finished_.notify_all();
    }
}

Work Engine::run(Worker& worker, JobBatch& batch) {
    for (; batch.remaining > 0; --batch.remaining) {
        worker.sample = batch.jobs.size() - batch.remaining;
        if (!perform(worker, batch)) return Work::needs_fallback;
    }
    return Work::done;
}

// One job. False when an image has to be decoded elsewhere first; calling again resumes the job.
bool Engine::perform(Worker& worker, JobBatch& batch) {
    const Job& job = batch.jobs[worker.sample];
    StageSeconds& seconds = worker.seconds;
    worker.fallback_image = -1;
    bool finished = true;
    std::vector<Failure> failures;
    try {
        // Again if the cache file was changed meanwhile: from then on nothing is taken from it.
        for (bool again = true; again;) {
            const bool was_lost = mapping_is_lost();
            failures.clear();
            worker.tiles.resize(job.tiles);
            worker.held.clear();
            worker.held.reserve(job.tiles);  // so that nothing can throw while an image is marked as busy
            for (std::size_t t = 0; t < job.tiles; ++t) {
                const PictureStatus status =
                    acquire(job.images[t], worker, seconds, &worker.tiles[t].picture);
                if (status.error == PictureError::not_jpeg) {
                    worker.fallback_image = job.images[t];
                    worker.held.clear();
                    return false;
                }
                if (status.error != PictureError::none)
                    failures.push_back({static_cast<std::int64_t>(worker.sample), job.images[t], status});
            }
            const auto started = Clock::now();
            if (failures.empty() && batch.staging == nullptr) {
                draw(worker, job);
                seconds.render += since(started);
            } else if (failures.empty()) {
                finished = pack(worker, *batch.staging);
                seconds.pack += since(started);
            }
            again = sources_.mapping != nullptr && !was_lost && !sources_.mapping->is_whole();
        }
        if (failures.empty() && batch.hooked != nullptr) {
            const auto rendered = Clock::now();
            run_hooks(*batch.hooked, worker.sample, job.out);
            seconds.hooks += since(rendered);
        }
    } catch (const std::bad_alloc&) {
        failures.push_back({static_cast<std::int64_t>(worker.sample),
                            job.tiles > 0 ? job.images[0] : -1,
                            {PictureError::out_of_memory, "out of memory"}});
    }
    worker.held.clear();
    const std::lock_guard lock(mutex_);
    if (finished) release(job);  // else its picture stays for who has room for it
    batch.failures.insert(batch.failures.end(), failures.begin(), failures.end());
    batch.seconds.read += seconds.read;
    batch.seconds.decode += seconds.decode;
    batch.seconds.render += seconds.render;
    batch.seconds.hooks += seconds.hooks;
    batch.seconds.pack += seconds.pack;
    batch.seconds.wait += seconds.wait;
    seconds = {};
    return true;
}

void Engine::draw(Worker& worker, const Job& job) {
    for (std::size_t t = 0; t < job.tiles; ++t) {
        Tile& tile = worker.tiles[t];
        std::memcpy(tile.matrix, job.matrices + 9 * t, sizeof tile.matrix);
        std::memcpy(tile.window, job.windows + 4 * t, sizeof tile.window);
        tile.layer = static_cast<int>(job.layers[t]);
    }
    worker.renderer.render(worker.tiles.data(), job.tiles, job.mix, job.colour, job.hole, job.out);
}

// Whether there was room for the picture.
bool Engine::pack(Worker& worker, Staging& staging) {
    const PictureView& picture = worker.tiles.front().picture;
    std::int64_t row[kPictureColumns];
    const std::size_t size = lay_out_picture(sides_of(picture), 1, row);
    staging.sizes[worker.sample] = static_cast<std::int64_t>(size);
    staging.rows[kPictureColumns * worker.sample + kOffsetY] = -1;  // when it is packed once more, too
    std::size_t begin = 0;
    {
        const std::lock_guard lock(mutex_);
        if (staging.capacity - staging.used < size) return false;
        begin = staging.used;
        staging.used += size;
    }
    move_picture(row, begin);
    copy_picture(picture, row, staging.memory);
    std::copy_n(row, kPictureColumns, staging.rows + kPictureColumns * worker.sample);
    std::copy_n(picture.place, kPlaceValues, staging.places + kPlaceValues * worker.sample);
    return true;
}

// The planes of an image: from the cache, from who decoded it before, or decoded here. They stay valid while
// the worker holds them.
PictureStatus Engine::acquire(std::int64_t image, Worker& worker, StageSeconds& seconds, PictureView* view) {
    if (sources_.cached != nullptr && sources_.cached[image] != 0 && may_use_cached(image, seconds)) {
        *view = cached_view(sources_, image);
        return {PictureError::none, {}};
    }
    std::shared_ptr<Picture> picture;
    {
        std::unique_lock lock(mutex_);
        const auto started = Clock::now();
        decoded_.wait(lock, [&] { return entries_[image].state != Entry::State::busy; });
        seconds.wait += since(started);
        Entry& entry = entries_[image];
        if (entry.state == Entry::State::ready) {
            if (entry.picture == nullptr) return entry.status;
            worker.held.push_back(entry.picture);
            *view = entry.picture->view;
            return {PictureError::none, {}};
        }
        entry.state = Entry::State::busy;
        picture = take_spare(image);
    }
    PictureStatus status{PictureError::out_of_memory, "out of memory"};
    if (picture != nullptr) status = decode(image, worker, seconds, *picture);
    if (status.error == PictureError::not_jpeg) return status;  // it stays busy until `supply`
    *view = picture != nullptr ? picture->view : PictureView{};
    if (status.error == PictureError::none) worker.held.push_back(picture);
    supply(image, std::move(picture), status);
    return status;
}

bool Engine::mapping_is_lost() const {
    return sources_.mapping != nullptr && sources_.mapping->state()->lost.load();
}

// Whether the planes of a picture in the cache are what was written there.
bool Engine::may_use_cached(std::int64_t image, StageSeconds& seconds) {
    if (sources_.mapping == nullptr) return true;
    if (mapping_is_lost()) return false;
    const std::atomic_ref<std::uint8_t> checked(sources_.checked[image]);
    if (const std::uint8_t known = checked.load(); known != kUnchecked) return known == kAsWritten;
    const auto started = Clock::now();
    const bool as_written = checksum_of_cached(sources_, image) == sources_.checksums[image];
    seconds.read += since(started);
    if (!sources_.mapping->is_whole()) return false;
    if (checked.exchange(as_written ? kAsWritten : kDamaged) != kDamaged && !as_written)
        sources_.mapping->state()->damaged.fetch_add(1);
    return as_written;
}

PictureStatus Engine::decode(std::int64_t image, Worker& worker, StageSeconds& seconds, Picture& out) {
    const bool compact = sources_.compact_side > 0;
    auto started = Clock::now();
    PictureStatus status = read_file(sources_.paths + sources_.path_at[image], worker.file);
    seconds.read += since(started);
    if (status.error != PictureError::none) return status;
    started = Clock::now();
    const PictureRequest request{sources_.shapes[2 * image], sources_.shapes[2 * image + 1],
                                 compact ? sources_.compact_side : sources_.cover, sources_.decoder};
    status = decode_picture(worker.file.data(), worker.file.size(), request, compact ? worker.full : out);
    if (compact && status.error == PictureError::none) try {
            compact_picture(worker.full.view, sources_.compact_side, out);
        } catch (const std::bad_alloc&) {
            status = {PictureError::out_of_memory, "out of memory"};
        }
    seconds.decode += since(started);
    return status;
}

void Engine::supply(std::int64_t image, std::shared_ptr<Picture> picture, const PictureStatus& status) {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[image];
    entry.state = Entry::State::ready;
    entry.status = status;
    if (status.error == PictureError::none) {
        entry.picture = std::move(picture);
        most_held_ = std::max(most_held_, ++held_);
    }
    decoded_.notify_all();
}

void Engine::abandon(Worker& worker) {
    const std::lock_guard lock(mutex_);
    if (worker.fallback_image >= 0) entries_[worker.fallback_image].state = Entry::State::empty;
    worker.fallback_image = -1;
    decoded_.notify_all();
    if (worker.batch == nullptr) return;
    worker.batch = nullptr;  // its batch will never be done
    --running_;
    finished_.notify_all();
}

// A job's pictures have been used once more. Called with the lock held.
void Engine::release(const Job& job) {
    for (std::size_t t = 0; t < job.tiles; ++t) {
        const auto found = entries_.find(job.images[t]);
        if (found == entries_.end()) continue;  // it came from the cache
        Entry& entry = found->second;
        entry.uses = std::max<std::int64_t>(entry.uses - 1, 0);
        if (entry.uses > 0 || entry.is_idle || entry.state == Entry::State::busy) continue;
        if (entry.picture == nullptr || idle_bytes_ == 0) {
            drop(job.images[t]);
            continue;
        }
        entry.idle = idle_.insert(idle_.end(), job.images[t]);
        entry.is_idle = true;
        idle_held_ += entry.picture->memory.size();
    }
    trim();
}

void Engine::drop(std::int64_t image) {
    const auto found = entries_.find(image);
    std::shared_ptr<const Picture> picture = std::move(found->second.picture);
    entries_.erase(found);
    if (picture == nullptr) return;
    --held_;
    if (picture.use_count() == 1)
        spares_.emplace_back(pixels(image), std::const_pointer_cast<Picture>(picture));
}

void Engine::trim() {
    while (idle_held_ > idle_bytes_) {
        const std::int64_t image = idle_.front();
        idle_.pop_front();
        idle_held_ -= entries_[image].picture->memory.size();
        drop(image);
    }
}

std::int64_t Engine::pixels(std::int64_t image) const {
    const std::int32_t* shape = sources_.shapes + 2 * image;
    return static_cast<std::int64_t>(shape[0]) * shape[1];
}

// Memory for a picture; null when there is none. Used before for one of this size if possible: fresh pages
// are slow. Where no spare fits and there are as many pictures as ever were needed at once, one is given up,
// so that memory does not grow. Called with the lock held.
std::shared_ptr<Picture> Engine::take_spare(std::int64_t image) {
    const auto fits = [size = pixels(image)](const auto& spare) { return spare.first == size; };
    const auto found = std::find_if(spares_.begin(), spares_.end(), fits);
    std::shared_ptr<Picture> picture;
    if (found != spares_.end()) {
        picture = std::move(found->second);
        spares_.erase(found);
    } else if (!spares_.empty() && held_ + spares_.size() >= std::max(most_held_, kSpares)) {
        spares_.erase(spares_.begin());
    }
    try {
        return picture != nullptr ? picture : std::make_shared<Picture>();
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

bool Engine::wait(const JobBatch* batch, double seconds) {
    std::unique_lock lock(mutex_);
    const std::chrono::duration<double> most(seconds < kForever ? seconds : kForever);
    return finished_.wait_for(lock, most, [&] { return batch->remaining == 0; });
}

void Engine::reset() {
    std::unique_lock lock(mutex_);
    queue_.clear();
    finished_.wait(lock, [&] { return running_ == 0; });
    entries_.clear();
    held_ = 0;
    idle_.clear();
    idle_held_ = 0;
}

void Engine::stop() {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    queue_.clear();
    queued_.notify_all();
}

std::size_t Engine::held_bytes() {
    const std::lock_guard lock(mutex_);
    std::size_t bytes = 0;
    for (const auto& [image, entry] : entries_)
        if (entry.picture != nullptr) bytes += entry.picture->memory.size();
    return bytes;
}

}  // namespace yf
