// See file_scan.hpp.
#include "core/files/file_scan.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

namespace yf {
namespace {

// A descriptor that is closed whatever happens.
class Descriptor {
  public:
    explicit Descriptor(int number = -1) : number_(number) {}
    ~Descriptor() { close(); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    void hold(int number) {
        close();
        number_ = number;
    }
    int number() const { return number_; }

  private:
    void close() {
        if (number_ >= 0) ::close(number_);
    }
    int number_;
};

int open_again(int folder, const char* name, int flags) {
    int number;
    do {
        number = ::openat(folder, name, flags | O_CLOEXEC);
    } while (number < 0 && errno == EINTR);
    return number;
}

// Opens files for reading, from the folder that the last one lay in where it is the same.
class Opener {
  public:
    // A regular file's descriptor, or -errno. `path` ends with a NUL.
    int open(std::string_view path, struct stat* facts) {
        const std::size_t slash = path.rfind('/');
        const char* name = path.data();
        int from = AT_FDCWD;
        if (slash != std::string_view::npos && slash > 0 && enter(path.substr(0, slash))) {
            name += slash + 1;
            from = folder_.number();
        }
        // Without waiting: a pipe would block until it is written to.
        const int number = open_again(from, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
        if (number < 0) return -errno;
        int error = ::fstat(number, facts) != 0 ? errno : 0;
        if (error == 0 && !S_ISREG(facts->st_mode)) error = S_ISDIR(facts->st_mode) ? EISDIR : EINVAL;
        if (error == 0) return number;
        ::close(number);
        return -error;
    }

  private:
    // Whether `folder_` is that folder. Where it cannot be opened, the file's whole name says why.
    bool enter(std::string_view folder) {
        if (folder == name_) return folder_.number() >= 0;
        if (folder.size() >= sizeof text_) return false;
        std::memcpy(text_, folder.data(), folder.size());
        text_[folder.size()] = '\0';
        name_ = {text_, folder.size()};
        folder_.hold(open_again(AT_FDCWD, text_, O_PATH | O_DIRECTORY));
        return folder_.number() >= 0;
    }

    Descriptor folder_;
    char text_[4096] = {};
    std::string_view name_;
};

// As many of `count` bytes as there are, or -errno.
std::ptrdiff_t read_at(int number, std::uint64_t offset, void* to, std::size_t count) {
    std::size_t done = 0;
    while (done < count) {
        const ssize_t got =
            ::pread(number, static_cast<char*>(to) + done, count - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    return static_cast<std::ptrdiff_t>(done);
}

class FileSource final : public ByteSource {
  public:
    FileSource(int number, std::uint64_t size) : number_(number), size_(size) {}
    std::ptrdiff_t read(std::uint64_t offset, std::uint8_t* to, std::size_t count) noexcept override {
        // What the file had at first is all that is read of it, so that a short one costs one call.
        if (offset >= size_) return 0;
        return read_at(number_, offset, to,
                       static_cast<std::size_t>(std::min<std::uint64_t>(count, size_ - offset)));
    }
    std::uint64_t size() const noexcept override { return size_; }

  private:
    int number_;
    std::uint64_t size_;
};

// Calls use(path) for each name, in order.
template <typename Use>
void for_each_path(PackedPaths paths, Use use) {
    for (std::size_t at = 0; at < paths.size;) {
        const void* end = std::memchr(paths.data + at, '\0', paths.size - at);
        if (end == nullptr) return;
        const auto length = static_cast<std::size_t>(static_cast<const char*>(end) - (paths.data + at));
        use(std::string_view(paths.data + at, length));
        at += length + 1;
    }
}

ImageHeader header_of(Opener& opener, std::string_view path) {
    struct stat facts;
    const int number = opener.open(path, &facts);
    if (number < 0) {
        ImageHeader header;
        header.status = HeaderStatus::unreadable;
        header.error = -number;
        return header;
    }
    const Descriptor file(number);
    FileSource source(number, static_cast<std::uint64_t>(facts.st_size));
    return read_image_header(source);
}

// Label files are read into one buffer, which grows to the largest of them.
class LabelReader {
  public:
    // The file's text, or an errno.
    int read(std::string_view path) {
        struct stat facts;
        const int number = opener_.open(path, &facts);
        if (number < 0) return -number;
        const Descriptor file(number);
        size_ = 0;
        if (facts.st_size > kMaxLabelBytes) return EFBIG;
        if (facts.st_size == 0) return 0;
        const auto wanted = static_cast<std::size_t>(facts.st_size);
        if (wanted > room_) {
            const std::size_t room = std::max<std::size_t>(std::size_t{1} << 16, wanted + wanted / 2);
            text_.reset(new char[room]);
            room_ = room;
        }
        const std::ptrdiff_t got = read_at(number, 0, text_.get(), wanted);
        if (got < 0) return static_cast<int>(-got);
        size_ = static_cast<std::size_t>(got);
        return 0;
    }
    const char* text() const { return text_.get(); }
    std::size_t size() const { return size_; }

  private:
    Opener opener_;
    std::unique_ptr<char[]> text_;
    std::size_t room_ = 0, size_ = 0;
};

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from) {
    to.insert(to.end(), from.begin(), from.end());
}

// The one place that knows what the parser gives. Returns an errno.
int append_rows(const char* text, std::size_t size, KeypointShape keypoints, std::int64_t file,
                LabelRows* rows) {
    const ParsedLabels found = parse_yolo_labels(text, size, keypoints);
    if (found.too_many_errors) return EBADMSG;
    if (found.too_many_rows) return EOVERFLOW;
    append(rows->classes, found.classes);
    append(rows->boxes, found.boxes);
    append(rows->lines, found.lines);
    append(rows->kinds, found.kinds);
    for (const LabelError& error : found.errors) {
        const std::size_t begin = rows->texts.size();
        rows->texts.append(text + error.begin, std::min(error.end - error.begin, kMaxLineBytes));
        rows->bad_lines.push_back({file, error.line, error.code, begin, rows->texts.size()});
    }
    return 0;
}

}  // namespace

void scan_headers(PackedPaths paths, const HeaderColumns& columns) noexcept {
    Opener opener;
    std::size_t i = 0;
    for_each_path(paths, [&](std::string_view path) {
        const ImageHeader header = header_of(opener, path);
        columns.status[i] = static_cast<std::int8_t>(header.status);
        columns.error[i] = header.error;
        columns.format[i] = static_cast<std::int8_t>(header.format);
        columns.mode[i] = static_cast<std::int8_t>(header.mode);
        columns.bits[i] = header.bits;
        columns.height[i] = header.height;
        columns.width[i] = header.width;
        columns.orientation[i] = header.orientation;
        columns.bytes[i] = static_cast<std::int64_t>(header.bytes);
        columns.complete[i] = header.complete ? 1 : 0;
        columns.pixels[i] = header.pixels;
        columns.depth[i] = header.depth;
        ++i;
    });
}

void scan_labels(PackedPaths paths, KeypointShape keypoints, LabelRows* rows) {
    LabelReader reader;
    rows->offsets.push_back(0);
    for_each_path(paths, [&](std::string_view path) {
        const auto file = static_cast<std::int64_t>(rows->errors.size());
        int error = path.empty() ? 0 : reader.read(path);
        if (error == 0 && !path.empty())
            error = append_rows(reader.text(), reader.size(), keypoints, file, rows);
        rows->errors.push_back(error);
        rows->offsets.push_back(static_cast<std::int64_t>(rows->classes.size()));
    });
}

}  // namespace yf
