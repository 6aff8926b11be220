// The newest entries of a log in memory: one stretch of consecutive indexes, bounded in bytes.
//
// Entries stand in chunks, one behind another, in the form in which they are sent:
//
//   0 commit_ts u64   8 length u32   12 payload; big-endian
//
// A block is a sequence of these. The sizes of entries that were let go are known for a while
// longer, so that a message of them can be measured before the disk is asked.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <new>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <utility>

#include "log_format.hpp"

namespace kvnode {

inline constexpr size_t BLOCK_HEADER_BYTES = 12;            // before the payload of each entry
inline constexpr size_t RING_CHUNK_BYTES = 256u << 10;
inline constexpr size_t RING_SIZES_MAX = 1u << 20;          // entries let go whose sizes are kept
inline constexpr uint32_t RING_SIZE_GUESS = 4u << 10;       // of an entry of which it is not known

struct RingEntry {              // borrowed: valid until the ring or the block changes
    uint64_t term, commit_ts;
    const char* payload;
    uint32_t length;
};

// Read the entry at `at` and move behind it; false when no whole entry stands there.
inline bool block_next(const char* block, size_t n, size_t* at, RingEntry* out) {
    const size_t left = n - *at;
    if (left < BLOCK_HEADER_BYTES) return false;
    const char* p = block + *at;
    out->commit_ts = load_be64(p);
    out->length = load_be32(p + 8);
    out->payload = p + BLOCK_HEADER_BYTES;
    if (out->length > LOG_PAYLOAD_BYTES_MAX || out->length > left - BLOCK_HEADER_BYTES) return false;
    *at += BLOCK_HEADER_BYTES + out->length;
    return true;
}

inline void block_put_header(char* p, uint64_t commit_ts, uint32_t length) {
    store_be64(p, commit_ts);
    store_be32(p + 8, length);
}

class EntryRing {
  public:
    // bytes_max: of chunks and of what is noted of each entry in them; less than 4 GiB. Beside that
    // there are one spare chunk, and 4 bytes for each of RING_SIZES_MAX sizes.
    explicit EntryRing(size_t bytes_max)
        : bytes_max_(bytes_max), chunk_bytes_(std::min(RING_CHUNK_BYTES, bytes_max / 4)) {}

    uint64_t first() const { return first_; }
    uint64_t next() const { return first_ + slots_.size(); }
    bool has(uint64_t first, uint64_t last) const {
        return first_ <= first && first <= last && last < next();
    }
    size_t bytes() const { return chunk_bytes_held_ + slots_.size() * sizeof(Slot); }

    // Forget everything; the next entry is that of `index`.
    void start(uint64_t index) {
        slots_.clear();
        chunks_.clear();
        sizes_.clear();
        chunk_bytes_held_ = 0;
        first_ = index;
    }

    // Forget the entries from `index` on, which is next() at most.
    void cut(uint64_t index) {
        while (!slots_.empty() && index < next()) {
            const Slot& slot = slots_.back();
            slot.chunk->size = slot.offset;
            slots_.pop_back();
            if (chunks_.back().size == 0) {
                drop(chunks_.back());
                chunks_.pop_back();
            }
        }
        if (index >= first_) return;
        const size_t gone = static_cast<size_t>(std::min<uint64_t>(first_ - index, sizes_.size()));
        sizes_.erase(sizes_.end() - static_cast<ptrdiff_t>(gone), sizes_.end());
        first_ = index;
    }

    // Add the entry of next(); old ones make room. One that is too large is let go at once.
    void push(uint64_t term, uint64_t commit_ts, const char* payload, size_t n) {
        const size_t need = BLOCK_HEADER_BYTES + n;
        const bool fits = !chunks_.empty() && need <= chunks_.back().capacity - chunks_.back().size;
        const size_t more = fits ? 0 : std::max(need, chunk_bytes_);
        while (!slots_.empty() && bytes() + more + sizeof(Slot) > bytes_max_) let_go();
        if (bytes() + more + sizeof(Slot) > bytes_max_) {
            note_size(static_cast<uint32_t>(n));
            first_++;
            return;
        }
        // Making room may have taken the chunk in which there was some.
        if (chunks_.empty() || need > chunks_.back().capacity - chunks_.back().size) add_chunk(need);
        Chunk& chunk = chunks_.back();
        slots_.push_back({term, &chunk, static_cast<uint32_t>(chunk.size), static_cast<uint32_t>(n)});
        char* p = chunk.data.get() + chunk.size;
        block_put_header(p, commit_ts, static_cast<uint32_t>(n));
        if (n) memcpy(p + BLOCK_HEADER_BYTES, payload, n);
        chunk.size += need;
    }

    // The entry at `index`, which is in the ring.
    RingEntry get(uint64_t index) const {
        const Slot& slot = slots_[static_cast<size_t>(index - first_)];
        const char* p = slot.chunk->data.get() + slot.offset;
        return {slot.term, load_be64(p), p + BLOCK_HEADER_BYTES, slot.length};
    }

    // Bytes of first..last as a block; they are in the ring.
    size_t block_bytes(uint64_t first, uint64_t last) const {
        size_t bytes = 0;
        for (uint64_t i = first; i <= last; i++)
            bytes += BLOCK_HEADER_BYTES + slots_[static_cast<size_t>(i - first_)].length;
        return bytes;
    }

    void copy_block(uint64_t first, uint64_t last, char* out) const {
        for (uint64_t i = first; i <= last; i++) {
            const Slot& slot = slots_[static_cast<size_t>(i - first_)];
            const size_t n = BLOCK_HEADER_BYTES + slot.length;
            memcpy(out, slot.chunk->data.get() + slot.offset, n);
            out += n;
        }
    }

    // The last of first..last up to which entries are `bytes_max` as a block, `first` at least. Those
    // of which the size is not known, as from before a start, may be larger or smaller.
    uint64_t fit(uint64_t first, uint64_t last, size_t bytes_max) const {
        size_t bytes = 0;
        uint64_t i = first;
        for (; i <= last; i++) {
            uint32_t length;
            if (!size_of(i, &length)) length = RING_SIZE_GUESS;
            bytes += BLOCK_HEADER_BYTES + length;
            if (bytes > bytes_max) break;
        }
        return std::max(first, i - 1);
    }

  private:
    struct Chunk {
        std::unique_ptr<char[]> data;
        size_t size, capacity;
    };
    struct Slot {
        uint64_t term;
        Chunk* chunk;           // stays in place: chunks come and go at the ends of their deque
        uint32_t offset, length;
    };

    bool size_of(uint64_t index, uint32_t* length) const {
        if (index >= next() || index + sizes_.size() < first_) return false;
        *length = index >= first_ ? slots_[static_cast<size_t>(index - first_)].length
                                  : sizes_[sizes_.size() - static_cast<size_t>(first_ - index)];
        return true;
    }

    void add_chunk(size_t need) {
        const size_t capacity = std::max(need, chunk_bytes_);
        std::unique_ptr<char[]> data;
        if (spare_ && capacity == chunk_bytes_)
            data = std::move(spare_);
        else
            data.reset(new char[capacity]);
        chunks_.push_back({std::move(data), 0, capacity});
        chunk_bytes_held_ += capacity;
    }

    // One chunk of the usual size is kept for use again: in a full ring one goes as one comes.
    void drop(Chunk& chunk) {
        chunk_bytes_held_ -= chunk.capacity;
        if (chunk.capacity == chunk_bytes_) spare_ = std::move(chunk.data);
    }

    void let_go() {
        const Slot slot = slots_.front();
        slots_.pop_front();
        if (slots_.empty() || slots_.front().chunk != slot.chunk) {
            drop(chunks_.front());
            chunks_.pop_front();
        }
        note_size(slot.length);
        first_++;
    }

    void note_size(uint32_t length) {
        if (sizes_.size() == RING_SIZES_MAX) sizes_.pop_front();
        sizes_.push_back(length);
    }

    const size_t bytes_max_, chunk_bytes_;
    uint64_t first_ = 1;            // index of slots_.front(), or of the next entry
    size_t chunk_bytes_held_ = 0;
    std::deque<Slot> slots_;
    std::deque<Chunk> chunks_;      // each holds an entry
    std::unique_ptr<char[]> spare_;
    std::deque<uint32_t> sizes_;    // of the entries before first_
};

}  // namespace kvnode
