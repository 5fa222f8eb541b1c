// See api.hpp.
#include "nvjpeg/api.hpp"

#include <dlfcn.h>

namespace yf::nvjpeg {
namespace {

void* open_first(const std::vector<std::string>& paths, const char* what, std::string& path,
                 std::string& reason) {
    reason.clear();
    for (const std::string& candidate : paths) {
        if (void* found = ::dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL)) {
            path = candidate;
            return found;
        }
        const char* error = ::dlerror();
        reason += (reason.empty() ? "" : "; ") + std::string(error != nullptr ? error : candidate);
    }
    reason = std::string(what) + " is not found (" + (reason.empty() ? "no place to look" : reason) + ")";
    return nullptr;
}

template <typename Function>
void find(void* library, const char* name, Function*& function, std::string& missing) {
    function = reinterpret_cast<Function*>(::dlsym(library, name));
    if (function == nullptr && missing.empty()) missing = name;
}

}  // namespace

std::shared_ptr<const Library> load(const std::vector<std::string>& libraries,
                                    const std::vector<std::string>& drivers, std::string& reason) {
    auto library = std::make_shared<Library>();
    std::string driver_path, missing;
    void* nvjpeg = open_first(libraries, "nvJPEG", library->path, reason);
    if (nvjpeg == nullptr) return nullptr;
    void* driver = open_first(drivers, "the CUDA driver", driver_path, reason);
    if (driver == nullptr) return nullptr;
#define YF_FIND(name, arguments) find(nvjpeg, "nvjpeg" #name, library->name, missing);
    YF_NVJPEG_FUNCTIONS(YF_FIND)
#undef YF_FIND
#define YF_FIND(name, arguments) find(driver, #name, library->name, missing);
    YF_DRIVER_FUNCTIONS(YF_FIND)
#undef YF_FIND
    if (library->GetProperty != nullptr) {
        library->GetProperty(kMajorVersion, &library->major);
        library->GetProperty(kMinorVersion, &library->minor);
        if (library->major < kOldestMajor) {
            reason = library->path + " is version " + std::to_string(library->major) + "." +
                     std::to_string(library->minor) + ", expected " + std::to_string(kOldestMajor) +
                     " or newer";
            return nullptr;
        }
    }
    if (!missing.empty()) {
        reason = (missing.starts_with("nvjpeg") ? library->path : driver_path) + " has no " + missing;
        return nullptr;
    }
    library->is_on_host = ::dlsym(nvjpeg, "yolofast_device_is_host") != nullptr;
    return library;
}

const char* explain(int status) {
    switch (status) {
        case kBadJpeg:
            return "nvJPEG: the file is damaged";
        case kNotSupported:
            return "nvJPEG: this kind of JPEG is not supported";
        case kAllocatorFailure:
            return "nvJPEG: out of memory";
        case kExecutionFailed:
            return "nvJPEG: decoding failed on the device";
        case kArchMismatch:
            return "nvJPEG: not supported on this device";
        case kInternalError:
            return "nvJPEG: internal error";
        case kIncomplete:
            return "nvJPEG: the file is incomplete";
        default:
            return "nvJPEG: refused";
    }
}

}  // namespace yf::nvjpeg
