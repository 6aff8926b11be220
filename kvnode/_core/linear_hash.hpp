// A hash table that grows and shrinks by one bucket at a time (linear hashing): no insert and no
// erase moves more than the elements of one bucket, however many there are.
#pragma once
#include <cstddef>
#include <cstdint>

#include "blocks.hpp"

namespace kvnode {

// Elements are chained by their field `chained`; Hash::of(element) finds what they are hashed by.
// Whoever looks for one walks the chain of first().
template <typename Element, typename Hash>
class LinearHash {
    static constexpr size_t kSparse = 4;    // buckets per element past which it shrinks
    static constexpr size_t kLeast = 16;

  public:
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    Element* first(uint64_t hash) const {
        return buckets_.empty() ? nullptr : buckets_[place(hash)];
    }

    // The element must not be there.
    void insert(Element* element) {
        if (size_ >= buckets_.size()) {
            split();
        }
        push(place(Hash::of(element)), element);
        size_++;
    }

    // The element must be there.
    void erase(Element* element) {
        Element** link = &buckets_[place(Hash::of(element))];
        while (*link != element) {
            link = &(*link)->chained;
        }
        *link = element->chained;
        size_--;
        if (buckets_.size() > kLeast && size_ * kSparse < buckets_.size()) {
            merge();
        }
    }

  private:
    // Buckets are numbered by the low bits of a hash; those that do not exist yet are still a part
    // of the one with a bit less.
    size_t place(uint64_t hash) const {
        size_t at = hash & mask_;
        return at < buckets_.size() ? at : at & (mask_ >> 1);
    }

    void push(size_t at, Element* element) {
        element->chained = buckets_[at];
        buckets_[at] = element;
    }

    void split() {
        size_t added = buckets_.size();
        buckets_.push_back(nullptr);
        if (added == 0) {
            return;
        }
        if (added > mask_) {
            mask_ = 2 * mask_ + 1;
        }
        size_t from = added & (mask_ >> 1);
        Element* element = buckets_[from];
        buckets_[from] = nullptr;
        while (element != nullptr) {
            Element* following = element->chained;
            push(place(Hash::of(element)), element);
            element = following;
        }
    }

    void merge() {
        size_t last = buckets_.size() - 1;
        Element* element = buckets_[last];
        buckets_.pop_back();
        while (element != nullptr) {
            Element* following = element->chained;
            push(place(Hash::of(element)), element);
            element = following;
        }
        if (last == (mask_ >> 1) + 1) {
            mask_ >>= 1;
        }
    }

    Blocks<Element*> buckets_;
    size_t mask_ = 0;       // the least 2^n - 1 that no number of a bucket exceeds
    size_t size_ = 0;
};

}  // namespace kvnode
