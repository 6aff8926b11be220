// The files of a log directory: segments made ready ahead of need, segments cut away, files used
// again. One thread of its own, so that neither the writer nor the reactor waits for 64 MiB of zeros.
//
// A segment's blocks are reserved, and written with zeros as far as there is time before its use (an
// old segment's file has that behind it): a later fdatasync then changes data only, no metadata,
// which takes two thirds of the time. It gets its name when its header is on the disk, so a file
// named *.seg always has a whole header.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <errno.h>
#include <fcntl.h>
#include <mutex>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "log_format.hpp"

namespace kvnode {

inline constexpr uint64_t LOG_FILL_BYTES = 256u << 10;  // zeros per write and sync while filling
inline constexpr size_t LOG_SPARES_MAX = 4;         // old files kept for use as new segments

// Write all of `data`; return 0 or an errno.
inline int write_all(int fd, const char* data, size_t n, uint64_t offset) {
    while (n) {
        const ssize_t done = pwrite(fd, data, n, static_cast<off_t>(offset));
        if (done < 0) {
            if (errno == EINTR) continue;
            return errno;
        }
        if (done == 0) return EIO;
        data += done;
        offset += static_cast<uint64_t>(done);
        n -= static_cast<size_t>(done);
    }
    return 0;
}

// Start a thread that takes no signals: they are for the main thread.
template <typename Body>
inline std::thread start_thread(const char* name, Body body) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread thread(body);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_setname_np(thread.native_handle(), name);
    return thread;
}

struct Segment {
    int fd = -1;
    uint64_t sequence = 0, id = 0, capacity = 0;
    uint64_t filled = 0;    // written before, by zeros or by a former life, up to here
};

class LogSegments {
  public:
    LogSegments(const char* directory, uint64_t segment_bytes, uint64_t id_seed,
                uint64_t next_sequence)
        : directory_(directory), segment_bytes_(segment_bytes), id_seed_(id_seed),
          next_sequence_(next_sequence) {}

    ~LogSegments() { stop(); }

    int start() {
        directory_fd_ = open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory_fd_ < 0) return errno;
        thread_ = start_thread("kvnode-segment", [this] { run(); });
        return 0;
    }

    void stop() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        if (thread_.joinable()) thread_.join();
        if (ready_.fd >= 0) close(ready_.fd);
        ready_.fd = -1;
        if (directory_fd_ >= 0) close(directory_fd_);
        directory_fd_ = -1;
    }

    // A segment of the log that is full, or was found at start: `last_index` = highest it holds.
    void add_closed(uint64_t sequence, uint64_t last_index) {
        std::lock_guard<std::mutex> lock(mutex_);
        closed_.push_back({sequence, last_index});
    }

    // Ask for the next segment to be made ready. Cheap; may be called again.
    void want_next() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (wanted_ || ready_.fd >= 0) return;
            wanted_ = true;
        }
        wake_.notify_all();
    }

    // Take the next segment, with room for a record of `need` bytes behind its link: as it is, if
    // one is being made ready, else a new one. Return 0 or an errno.
    int take(size_t need, Segment* out) {
        const uint64_t bytes = LOG_HEADER_BYTES + log_record_bytes(LOG_LINK_BYTES) + need;
        std::unique_lock<std::mutex> lock(mutex_);
        taking_ = true;
        while (preparing_) wake_.wait(lock);
        taking_ = wanted_ = false;
        if (ready_.fd >= 0) {
            const Segment ready = ready_;
            ready_.fd = -1;
            if (ready.capacity >= bytes) {
                *out = ready;
                return 0;
            }
            // Too small for this record: a larger file replaces it under the same number.
            close(ready.fd);
            next_sequence_ = ready.sequence;
        }
        preparing_ = true;
        lock.unlock();
        const int error = prepare(std::max(bytes, segment_bytes_), out);
        lock.lock();
        preparing_ = false;
        lock.unlock();
        wake_.notify_all();
        return error;
    }

    // Drop whole segments that hold nothing above `index`. The caller has it in a checkpoint.
    void cut(uint64_t index) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            while (!closed_.empty() && closed_.front().last_index <= index) {
                doomed_.push_back(closed_.front().sequence);
                closed_.pop_front();
            }
        }
        wake_.notify_all();
    }

    // Wait until what cut() doomed is gone; return the errno of the last failure, 0 if none.
    int wait_idle() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (thread_.joinable() && (!doomed_.empty() || wanted_ || preparing_)) wake_.wait(lock);
        return error_;
    }

    size_t closed_count() {
        std::lock_guard<std::mutex> lock(mutex_);
        return closed_.size();
    }

  private:
    struct Closed {
        uint64_t sequence, last_index;
    };

    std::string name(uint64_t sequence, const char* suffix) const {
        char text[32];
        snprintf(text, sizeof text, "%016llx.%s", static_cast<unsigned long long>(sequence), suffix);
        return text;
    }

    void run() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (!stopping_) {
            if (wanted_ && !preparing_ && ready_.fd < 0) {
                preparing_ = true;
                lock.unlock();
                Segment made;
                const int error = prepare(segment_bytes_, &made);
                lock.lock();
                preparing_ = false;
                wanted_ = false;
                // A failure is not the end: whoever takes the segment tries again and reports.
                if (error == 0) ready_ = made;
                wake_.notify_all();
            } else if (ready_.fd >= 0 && ready_.filled < ready_.capacity && !taking_) {
                fill_slice(lock);
            } else if (!doomed_.empty()) {
                remove_doomed(lock);
            } else {
                wake_.wait(lock);
            }
        }
    }

    // Delete doomed files or keep them for use again. The slow calls are made without the lock.
    void remove_doomed(std::unique_lock<std::mutex>& lock) {
        const std::vector<uint64_t> doomed = doomed_;
        size_t room = LOG_SPARES_MAX - std::min(LOG_SPARES_MAX, spares_.size());
        lock.unlock();
        std::vector<uint64_t> spares;
        int error = 0;
        for (uint64_t sequence : doomed) {
            const std::string from = name(sequence, "seg"), to = name(sequence, "old");
            struct stat s;
            if (spares.size() < room && fstatat(directory_fd_, from.c_str(), &s, 0) == 0 &&
                static_cast<uint64_t>(s.st_size) == segment_bytes_ &&
                renameat(directory_fd_, from.c_str(), directory_fd_, to.c_str()) == 0)
                spares.push_back(sequence);
            else if (unlinkat(directory_fd_, from.c_str(), 0))
                error = errno;
        }
        if (fsync(directory_fd_)) error = errno;
        lock.lock();
        if (error) error_ = error;
        spares_.insert(spares_.end(), spares.begin(), spares.end());
        doomed_.erase(doomed_.begin(), doomed_.begin() + static_cast<ptrdiff_t>(doomed.size()));
        wake_.notify_all();
    }

    // Make the next segment. Called without the lock, by whoever set preparing_.
    int prepare(uint64_t capacity, Segment* out) {
        const int error = make_segment(capacity, out);
        if (!error) return 0;
        // Not in use: the next try may have its number.
        std::lock_guard<std::mutex> lock(mutex_);
        next_sequence_ = out->sequence;
        return error;
    }

    int make_segment(uint64_t capacity, Segment* out) {
        Segment& s = *out;
        std::string spare;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            s.sequence = next_sequence_++;
            if (capacity == segment_bytes_ && !spares_.empty()) {
                spare = name(spares_.back(), "old");
                spares_.pop_back();
            }
        }
        s.id = log_segment_id(id_seed_, s.sequence);
        s.capacity = capacity;
        const std::string tmp = name(s.sequence, "tmp");
        if (!spare.empty() && renameat(directory_fd_, spare.c_str(), directory_fd_, tmp.c_str()))
            spare.clear();
        s.fd = openat(directory_fd_, tmp.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (s.fd < 0) return errno;
        s.filled = spare.empty() ? LOG_HEADER_BYTES : capacity;
        int error = posix_fallocate(s.fd, 0, static_cast<off_t>(capacity));
        char header[LOG_HEADER_BYTES];
        log_put_header(header, s.id, s.sequence, capacity);
        if (!error) error = write_all(s.fd, header, sizeof header, 0);
        if (!error && fdatasync(s.fd)) error = errno;
        if (!error && renameat(directory_fd_, tmp.c_str(), directory_fd_,
                               name(s.sequence, "seg").c_str()))
            error = errno;
        if (!error && fsync(directory_fd_)) error = errno;
        if (error) {
            close(s.fd);
            unlinkat(directory_fd_, tmp.c_str(), 0);
        }
        return error;
    }

    // Write some zeros into the segment made ahead; synced, so that a sync of the log meanwhile
    // waits behind one slice at most. Half of the time the disk is left to others.
    void fill_slice(std::unique_lock<std::mutex>& lock) {
        preparing_ = true;
        const Segment s = ready_;
        lock.unlock();
        const auto begin = std::chrono::steady_clock::now();
        const size_t n = static_cast<size_t>(std::min(LOG_FILL_BYTES, s.capacity - s.filled));
        if (zeros_.empty()) zeros_.resize(LOG_FILL_BYTES);
        int error = write_all(s.fd, zeros_.data(), n, s.filled);
        if (!error && fdatasync(s.fd)) error = errno;
        const auto taken = std::chrono::steady_clock::now() - begin;
        lock.lock();
        preparing_ = false;
        // Zeros that cannot be written are not missed; the log's own writes will tell.
        ready_.filled = error ? s.capacity : s.filled + n;
        wake_.notify_all();
        wake_.wait_for(lock, taken);
    }

    const std::string directory_;
    const uint64_t segment_bytes_, id_seed_;

    std::mutex mutex_;
    std::condition_variable wake_;
    uint64_t next_sequence_;
    int directory_fd_ = -1;
    Segment ready_;
    bool wanted_ = false, stopping_ = false;
    bool preparing_ = false;    // somebody works on a segment without the lock
    bool taking_ = false;       // the writer waits for that to end
    std::vector<char> zeros_;   // the thread's own
    std::deque<Closed> closed_;
    std::vector<uint64_t> doomed_, spares_;
    int error_ = 0;
    std::thread thread_;
};

}  // namespace kvnode
