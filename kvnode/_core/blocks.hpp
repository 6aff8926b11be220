// A sequence whose elements never move: it grows and shrinks by blocks of bounded size, so that no
// push copies millions of elements and no memory comes or goes in one piece.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace kvnode {

// T is copied as bytes. The first blocks are small, each twice as long as the one before.
template <typename T>
class Blocks {
    static_assert(std::is_trivially_destructible<T>::value, "elements are dropped without a word");

    static constexpr unsigned kFirstBits = 5, kBits = 12;
    static constexpr size_t kFirst = size_t{1} << kFirstBits, kLong = size_t{1} << kBits;
    static constexpr size_t kShortBlocks = kBits - kFirstBits;  // before those of full length

  public:
    Blocks() = default;
    Blocks(const Blocks&) = delete;
    Blocks& operator=(const Blocks&) = delete;
    ~Blocks() { free_blocks(0); }

    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T& operator[](size_t i) { return *place(i); }
    const T& operator[](size_t i) const { return *place(i); }
    T& back() { return *place(size_ - 1); }

    void push_back(const T& element) {
        if (size_ == room_) {
            add_block();
        }
        *place(size_) = element;
        size_++;
    }

    void pop_back() { resize(size_ - 1); }

    // Leave the first `size` elements. One block is kept beyond what they need.
    void resize(size_t size) {
        size_ = size;
        size_t used = size == 0 ? 0 : block_of(size - 1) + 1;
        if (blocks_.size() > used + 1 && blocks_.size() > kShortBlocks) {
            free_blocks(used + 1 > kShortBlocks ? used + 1 : kShortBlocks);
        }
    }

    void clear() { resize(0); }

    void swap(Blocks& other) {
        blocks_.swap(other.blocks_);
        std::swap(size_, other.size_);
        std::swap(room_, other.room_);
    }

  private:
    // Short block k holds the indexes kFirst * (2^k - 1) up to kFirst * (2^(k+1) - 1).
    static size_t block_of(size_t i) {
        size_t j = i + kFirst;
        if (j < kLong) {
            return 63 - static_cast<size_t>(__builtin_clzll(j)) - kFirstBits;
        }
        return kShortBlocks + ((j - kLong) >> kBits);
    }

    static size_t length_of(size_t block) {
        return block < kShortBlocks ? kFirst << block : kLong;
    }

    T* place(size_t i) const {
        size_t j = i + kFirst;
        if (j < kLong) {
            size_t block = 63 - static_cast<size_t>(__builtin_clzll(j)) - kFirstBits;
            return blocks_[block] + (j - (kFirst << block));
        }
        return blocks_[kShortBlocks + ((j - kLong) >> kBits)] + (j & (kLong - 1));
    }

    void add_block() {
        size_t length = length_of(blocks_.size());
        if (blocks_.size() == blocks_.capacity()) {
            blocks_.reserve(2 * blocks_.size() + 1);    // what may fail comes first
        }
        T* block = static_cast<T*>(malloc(length * sizeof(T)));
        if (block == nullptr) {
            throw std::bad_alloc();
        }
        blocks_.push_back(block);
        room_ += length;
    }

    void free_blocks(size_t left) {
        while (blocks_.size() > left) {
            free(blocks_.back());
            blocks_.pop_back();
            room_ -= length_of(blocks_.size());
        }
    }

    std::vector<T*> blocks_;
    size_t size_ = 0, room_ = 0;
};

}  // namespace kvnode
