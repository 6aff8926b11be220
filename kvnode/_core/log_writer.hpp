// The thread that writes the log.
//
// One producer (the sequencer) appends framed records to a queue; the thread takes all of it by swap,
// seals the records, writes them with one pwrite, makes them durable with one fdatasync, publishes
// how far the log is, and bumps an eventfd. While it syncs, the next group gathers: group commit.
//
// Invariants
//   1. Bytes of the log are written by the owner of `busy_` only: the thread, or the producer inside
//      submit_inline, which takes it only when the queue is empty. So records reach the file in
//      the order in which they were submitted.
//   2. A segment gets its first record after all of its predecessor was synced, in every mode.
//   3. After a failed write or sync nothing is written any more: the page cache cannot be trusted.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <sys/eventfd.h>
#include <thread>

#include "log_failpoint.hpp"
#include "log_segments.hpp"

namespace kvnode {

enum LogMode { LOG_ALWAYS, LOG_EVERYSEC, LOG_NO };

inline constexpr std::chrono::milliseconds LOG_EVERYSEC_PERIOD{1000};
inline constexpr uint64_t LOG_INLINE_SYNC_NS_MAX = 500'000;         // slower disks: never inline
inline constexpr size_t LOG_INLINE_BYTES_MAX = 64u << 10;
inline constexpr size_t LOG_QUEUE_KEEP_BYTES = 8u << 20;    // a larger buffer is freed after use
inline constexpr size_t LOG_WRITEBACK_BYTES = 4u << 20;     // relaxed modes: start write-back

struct LogPosition {
    uint64_t term = 0, index = 0;
};

struct LogStatistics {
    LogPosition written, synced;
    int error = 0;              // errno of the failure, 0 = none
    uint64_t syncs = 0, sync_ns = 0, sync_ns_max = 0, sync_ns_average = 0;
    uint64_t groups = 0, inline_groups = 0, entries = 0, bytes = 0, marks = 0, switches = 0;
};

struct LogStart {               // where the log goes on, from recovery
    uint64_t sequence = 0, segment_id = 0, offset = 0, capacity = 0;
    uint32_t chain = 0;
    LogPosition last;           // newest entry; all up to it is synced
    uint64_t last_commit_ts = 0;
};

// Raw memory for framed records: no constructor touches the bytes.
struct RecordBuffer {
    char* data = nullptr;
    size_t size = 0, capacity = 0;

    ~RecordBuffer() { free(data); }
    // Room for `n` bytes at the end, or nullptr when there is no memory.
    char* extend(size_t n) {
        if (size + n > capacity) {
            const size_t wanted = std::max({capacity * 2, size + n, size_t{1} << 16});
            char* grown = static_cast<char*>(realloc(data, wanted));
            if (!grown) return nullptr;
            data = grown;
            capacity = wanted;
        }
        char* end = data + size;
        size += n;
        return end;
    }
    void clear() {
        size = 0;
        if (capacity > LOG_QUEUE_KEEP_BYTES) {
            free(data);
            data = nullptr;
            capacity = 0;
        }
    }
    void swap(RecordBuffer& other) {
        std::swap(data, other.data);
        std::swap(size, other.size);
        std::swap(capacity, other.capacity);
    }
};

class LogWriter {
  public:
    // `mark_delay_ms`: idle time before a sync mark.
    LogWriter(const char* directory, uint64_t segment_bytes, uint64_t id_seed, int mode,
              int mark_delay_ms, const LogStart& start)
        : segments_(directory, segment_bytes, id_seed, start.sequence + 1), directory_(directory),
          mark_delay_(mark_delay_ms), at_(start), mode_(mode),
          synced_offset_(start.offset), writeback_offset_(start.offset),
          last_index_in_segment_(start.last.index), synced_(start.last) {
        statistics_.written = statistics_.synced = start.last;
    }

    ~LogWriter() {
        stop();
        if (segment_.fd >= 0) close(segment_.fd);
        if (event_fd_ >= 0) close(event_fd_);
    }

    // Open the segment and start the threads; return 0 or an errno.
    int start() {
        char path[32];
        snprintf(path, sizeof path, "/%016llx.seg", static_cast<unsigned long long>(at_.sequence));
        segment_ = {open((directory_ + path).c_str(), O_RDWR | O_CLOEXEC), at_.sequence,
                    at_.segment_id, at_.capacity};
        if (segment_.fd < 0) return errno;
        event_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (event_fd_ < 0) return errno;
        seed_ = log_seed(segment_.id);
        const int error = segments_.start();
        if (error) return error;
        thread_ = start_thread("kvnode-log", [this] { run(); });
        return 0;
    }

    // Write and sync what is queued, then end the threads. May be called again.
    void stop() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_one();
        if (thread_.joinable()) thread_.join();
        segments_.stop();
    }

    // Queue one entry; false when there is no memory. After a failure entries are dropped.
    bool submit(uint64_t term, uint64_t index, uint64_t commit_ts, const char* payload, size_t n) {
        bool wake;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (statistics_.error) return true;
            char* p = queue_.extend(log_record_bytes(n));
            if (!p) return false;
            log_put_record(p, LOG_ENTRY, term, index, commit_ts, payload, n);
            pending_bytes_ += log_record_bytes(n);
            wake = sleeping_;
            sleeping_ = false;
        }
        if (wake) wake_.notify_one();
        return true;
    }

    // Write and sync one entry on this thread, if nothing is queued or under way and syncs are
    // quick. 1 = done or failed (see report), 0 = declined.
    int submit_inline(uint64_t term, uint64_t index, uint64_t commit_ts, const char* payload,
                      size_t n) {
        if (n > LOG_INLINE_BYTES_MAX) return 0;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (busy_ || stopping_ || sync_wanted_ || queue_.size || mode_ != LOG_ALWAYS ||
                statistics_.error || statistics_.sync_ns_average > LOG_INLINE_SYNC_NS_MAX)
                return 0;
            // A switch of segments is the thread's work.
            if (at_.offset + log_record_bytes(n) > segment_.capacity) return 0;
            busy_ = true;
        }
        inline_.size = 0;
        char* p = inline_.extend(log_record_bytes(n));
        int error = ENOMEM;
        if (p) {
            log_put_record(p, LOG_ENTRY, term, index, commit_ts, payload, n);
            error = write_group(inline_);
            if (!error) error = sync();
        }
        bool wake;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            busy_ = false;
            statistics_.inline_groups++;
            publish(error);
            // Asleep without a deadline, the thread must get up to see that a mark will be due.
            wake = sleeping_ && !has_deadline_;
            if (wake) sleeping_ = false;
            mark_due_ = true;
            last_active_ = Clock::now();
        }
        if (wake) wake_.notify_one();
        return 1;
    }

    void request_sync() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            sync_wanted_ = true;
            sleeping_ = false;
        }
        wake_.notify_one();
    }

    void set_mode(int mode) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            mode_ = mode;
            // What the relaxed mode left unsynced is owed at once.
            sync_wanted_ = sync_wanted_ || mode == LOG_ALWAYS;
            sleeping_ = false;
        }
        wake_.notify_one();
    }

    LogStatistics statistics() {
        std::lock_guard<std::mutex> lock(mutex_);
        return statistics_;
    }

    size_t queued_bytes() const { return pending_bytes_.load(std::memory_order_relaxed); }
    int event_fd() const { return event_fd_; }
    LogSegments& segments() { return segments_; }
    Failpoints& failpoints() { return failpoints_; }

  private:
    using Clock = std::chrono::steady_clock;

    void run() {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
            const bool idle = wait_for_work(lock);
            if (statistics_.error) return;
            const bool last = stopping_ && queue_.size == 0;
            const bool mark = idle || (last && mark_due_);
            batch_.swap(queue_);
            const size_t taken = batch_.size;
            const bool must_sync = mark || sync_wanted_ || stopping_ || mode_ == LOG_ALWAYS ||
                                   (mode_ == LOG_EVERYSEC && is_sync_due());
            sync_wanted_ = false;
            busy_ = true;
            lock.unlock();

            int error = 0;
            if (taken) error = write_group(batch_);
            if (!error && mark) error = write_mark();
            if (!error && must_sync && unsynced_) error = sync();
            if (!error && unsynced_) start_writeback();
            batch_.clear();

            lock.lock();
            busy_ = false;
            pending_bytes_ -= taken;
            publish(error);
            if (error) pending_bytes_ = 0;
            if (taken) {
                mark_due_ = true;
                last_active_ = Clock::now();
            } else if (mark) {
                mark_due_ = false;
            }
            bump();
            if (error || last) return;
        }
    }

    // Sleep until there is something to do; return whether that is writing a sync mark.
    bool wait_for_work(std::unique_lock<std::mutex>& lock) {
        for (;;) {
            if (!busy_) {
                if (statistics_.error || stopping_ || queue_.size || sync_wanted_) return false;
                const auto now = Clock::now();
                if (mode_ == LOG_EVERYSEC && unsynced_ && is_sync_due()) return false;
                if (can_mark() && now >= last_active_ + mark_delay_) return true;
            }
            sleeping_ = true;
            has_deadline_ = !busy_ && (can_mark() || (mode_ == LOG_EVERYSEC && unsynced_));
            if (!has_deadline_)
                wake_.wait(lock);
            else
                wake_.wait_until(lock, can_mark() ? last_active_ + mark_delay_
                                                  : last_sync_ + LOG_EVERYSEC_PERIOD);
            sleeping_ = false;
        }
    }

    bool can_mark() const { return mark_due_ && !unsynced_; }
    bool is_sync_due() const { return Clock::now() >= last_sync_ + LOG_EVERYSEC_PERIOD; }

    // Seal and write records; a full segment is left for the next one. Return 0 or an errno.
    int write_group(RecordBuffer& group) {
        size_t start = 0, at = 0;
        while (at < group.size) {
            char* p = group.data + at;
            const size_t bytes = log_record_bytes(load_be32(p + 8));
            if (at_.offset + (at - start) + bytes > segment_.capacity) {
                int error = write_range(group.data + start, at - start);
                if (!error) error = switch_segment(bytes);
                if (error) return error;
                start = at;
            }
            at_.chain = log_seal_record(p, seed_, at_.chain, synced_offset_);
            at_.last = {load_be64(p + 16), load_be64(p + 24)};
            at_.last_commit_ts = load_be64(p + 32);
            last_index_in_segment_ = std::max(last_index_in_segment_, at_.last.index);
            at += bytes;
            entries_++;
        }
        const int error = write_range(group.data + start, at - start);
        if (!error) groups_++;
        return error;
    }

    int write_range(const char* data, size_t n) {
        if (!n) return 0;
        int hit = failpoints_.hit(FP_BEFORE_WRITE);
        if (hit > 0) return hit;
        const int error = hit ? 0 : write_all(segment_.fd, data, n, at_.offset);
        if (error) return error;
        at_.offset += n;
        bytes_ += n;
        unsynced_ = true;
        hit = failpoints_.hit(FP_AFTER_WRITE);
        if (!next_wanted_ && at_.offset > segment_.capacity / 4) {
            next_wanted_ = true;
            segments_.want_next();
        }
        return hit > 0 ? hit : 0;
    }

    int sync() {
        int hit = failpoints_.hit(FP_BEFORE_SYNC);
        if (hit > 0) return hit;
        const auto begin = Clock::now();
        if (!hit && fdatasync(segment_.fd)) return errno;
        last_sync_ = Clock::now();
        const uint64_t ns = static_cast<uint64_t>((last_sync_ - begin).count());
        syncs_++;
        sync_ns_ += ns;
        sync_ns_max_ = std::max(sync_ns_max_, ns);
        // The average foretells a small sync, so only small ones count.
        if (at_.offset - synced_offset_ <= LOG_INLINE_BYTES_MAX)
            sync_ns_average_ =
                sync_ns_average_ ? sync_ns_average_ - sync_ns_average_ / 8 + ns / 8 : ns;
        synced_offset_ = at_.offset;
        writeback_offset_ = at_.offset;
        synced_ = at_.last;
        unsynced_ = false;
        if (has_left_) {
            has_left_ = false;
            segments_.add_closed(left_sequence_, left_last_index_);
        }
        hit = failpoints_.hit(FP_AFTER_SYNC);
        return hit > 0 ? hit : 0;
    }

    // Relaxed modes: have the kernel begin early, so that the sync that comes is a short one.
    void start_writeback() {
        if (at_.offset - writeback_offset_ < LOG_WRITEBACK_BYTES) return;
        sync_file_range(segment_.fd, static_cast<off_t>(writeback_offset_),
                        static_cast<off_t>(at_.offset - writeback_offset_), SYNC_FILE_RANGE_WRITE);
        writeback_offset_ = at_.offset;
    }

    // State how far the log is synced, in a record of its own: without it a damaged last record
    // could pass for a torn one. A segment without room does without; its successor's link tells.
    int write_mark() {
        char mark[LOG_RECORD_HEADER_BYTES];
        if (at_.offset + sizeof mark > segment_.capacity) return 0;
        if (unsynced_) {
            const int error = sync();
            if (error) return error;
        }
        log_put_record(mark, LOG_MARK, at_.last.term, at_.last.index, at_.last_commit_ts, nullptr, 0);
        at_.chain = log_seal_record(mark, seed_, at_.chain, synced_offset_);
        marks_++;
        return write_range(mark, sizeof mark);
    }

    int switch_segment(size_t need) {
        int hit = failpoints_.hit(FP_SEGMENT_SWITCH);
        if (hit > 0) return hit;
        int error = unsynced_ ? sync() : 0;
        if (error) return error;
        Segment next;
        error = segments_.take(need, &next);
        if (error) return error;
        // It may be cut away only once the link in the next one is durable: a log needs one.
        has_left_ = true;
        left_sequence_ = segment_.sequence;
        left_last_index_ = last_index_in_segment_;
        close(segment_.fd);
        char payload[LOG_LINK_BYTES], link[LOG_RECORD_HEADER_BYTES + LOG_LINK_BYTES + LOG_ALIGN];
        store_be64(payload, segment_.sequence);
        store_be64(payload + 8, at_.offset);
        store_be32(payload + 16, at_.chain);
        log_put_record(link, LOG_LINK, at_.last.term, at_.last.index, at_.last_commit_ts, payload,
                       sizeof payload);
        segment_ = next;
        seed_ = at_.chain = log_seed(next.id);
        at_.offset = synced_offset_ = writeback_offset_ = LOG_HEADER_BYTES;
        at_.chain = log_seal_record(link, seed_, at_.chain, synced_offset_);
        last_index_in_segment_ = 0;
        next_wanted_ = false;
        switches_++;
        return write_range(link, log_record_bytes(sizeof payload));
    }

    // Make what was achieved visible; with the lock held. An error ends everything.
    void publish(int error) {
        LogStatistics& s = statistics_;
        if (error) {
            s.error = error;
            queue_.clear();
        } else {
            s.written = at_.last;
        }
        s.synced = synced_;
        s.syncs = syncs_;
        s.sync_ns = sync_ns_;
        s.sync_ns_max = sync_ns_max_;
        s.sync_ns_average = sync_ns_average_;
        s.groups = groups_;
        s.entries = entries_;
        s.bytes = bytes_;
        s.marks = marks_;
        s.switches = switches_;
    }

    void bump() {
        const uint64_t one = 1;
        // The counter cannot overflow, and a reader that is gone needs no report.
        if (write(event_fd_, &one, sizeof one) < 0) return;
    }

    LogSegments segments_;
    const std::string directory_;
    const std::chrono::milliseconds mark_delay_;
    Failpoints failpoints_;
    int event_fd_ = -1;
    std::atomic<size_t> pending_bytes_{0};

    // Guarded by mutex_.
    std::mutex mutex_;
    std::condition_variable wake_;
    RecordBuffer queue_;
    bool busy_ = false, sleeping_ = false, has_deadline_ = false, stopping_ = false;
    bool sync_wanted_ = false;
    bool mark_due_ = false;     // an entry was written since the last mark
    Clock::time_point last_active_{};
    LogStatistics statistics_;

    // Owned by whoever set busy_; between owners the mutex orders them.
    LogStart at_;
    Segment segment_;
    uint32_t seed_ = 0;
    int mode_;                  // guarded by mutex_
    RecordBuffer batch_, inline_;
    uint64_t synced_offset_, writeback_offset_;
    uint64_t last_index_in_segment_;    // the highest: a follower's may go back
    bool has_left_ = false;             // a segment that is full, until its successor is synced
    uint64_t left_sequence_ = 0, left_last_index_ = 0;
    LogPosition synced_;
    bool unsynced_ = false, next_wanted_ = false;
    Clock::time_point last_sync_{};
    uint64_t syncs_ = 0, sync_ns_ = 0, sync_ns_max_ = 0, sync_ns_average_ = 0;
    uint64_t groups_ = 0, entries_ = 0, bytes_ = 0, marks_ = 0, switches_ = 0;

    std::thread thread_;
};

}  // namespace kvnode
