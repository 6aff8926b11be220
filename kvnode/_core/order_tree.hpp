// An ordered set that knows ranks: a B+tree with counts, for the members of a sorted set.
//
// An element is (order, entry): a sortable 64-bit number, and a pointer that the tree does not own.
// Elements of one order stand in the order of their entries' bytes (memcmp, then length), which
// the functor Bytes finds; see KeyBytes. A bound is (order, bytes); it need not be an element. (order, nothing) is below all of its order.
//
// Invariants (check() verifies them)
//   1. Elements ascend strictly, over all leaves, by (order, bytes).
//   2. All leaves lie at the depth `height_`.
//   3. A node holds at most kMax items and at least kMin; the nodes of the right edge, which appends
//      leave full to their left, and the root at least one; a root above leaves at least two.
//   4. What an inner node counts for a child is the number of elements below that child.
//   5. What an inner node states as the first element of a child is that: no pointer to an entry
//      that was erased stays anywhere.
//   6. The leaves are chained in their order, from first_leaf_ to last_leaf_.
//   7. size() is the number of elements, bytes() the memory of all nodes.
//
// An iterator is valid until the next insert, append, erase, free_some or clear. The bytes of an
// entry must not change while it is in the tree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#ifndef KV_ASSERT       // the same as in bytes.pxd, for who includes this without it
#ifdef KVNODE_DEBUG
#include <cstdio>
#define KV_ASSERT(c) do { if (!(c)) { \
    fprintf(stderr, "ASSERT failed: %s (%s:%d)\n", #c, __FILE__, __LINE__); abort(); } } while (0)
#else
#define KV_ASSERT(c) ((void)0)
#endif
#endif

namespace kvnode {

// The bytes of an entry that ends with its key; `kSkip` leading ones are no part of them.
template <typename Entry, unsigned kSkip = 0>
struct KeyBytes {
    static const char *data(const Entry *entry) { return entry->key + kSkip; }
    static size_t size(const Entry *entry) { return entry->key_len - kSkip; }
};

template <typename Entry, typename Bytes = KeyBytes<Entry>, unsigned kMax = 48>
class OrderTree {
    static constexpr unsigned kMin = kMax / 2;
    static constexpr unsigned kHeightMax = 16;
    static_assert(kMax >= 4 && kMax % 2 == 0, "a full node is cut into halves");

    struct Node {
        uint32_t n;
        uint64_t orders[kMax];      // of the elements, or of each child's first element
        Entry *entries[kMax];
    };
    struct Leaf : Node {
        Leaf *previous, *next;
    };
    struct Inner : Node {
        uint64_t counts[kMax];      // elements below each child
        Node *children[kMax];
    };
    struct Step {
        Inner *node;
        unsigned at;
    };

  public:
    class Iterator {
      public:
        Iterator() : leaf_(nullptr), at_(0) {}
        bool valid() const { return leaf_ != nullptr; }     // not past an end
        uint64_t order() const { return leaf_->orders[at_]; }
        Entry *entry() const { return leaf_->entries[at_]; }
        void next() {
            KV_ASSERT(valid());
            if (++at_ == leaf_->n) {
                leaf_ = leaf_->next;
                at_ = 0;
            }
        }
        void previous() {
            KV_ASSERT(valid());
            if (at_-- == 0) {
                leaf_ = leaf_->previous;
                at_ = leaf_ ? leaf_->n - 1 : 0;
            }
        }

      private:
        friend class OrderTree;
        Iterator(const Leaf *leaf, unsigned at) : leaf_(leaf), at_(at) {}
        const Leaf *leaf_;
        unsigned at_;
    };

    OrderTree() = default;
    OrderTree(const OrderTree &) = delete;
    OrderTree &operator=(const OrderTree &) = delete;
    ~OrderTree() { clear(); }

    size_t size() const { return size_; }
    size_t bytes() const { return bytes_; }
    Iterator first() const { return Iterator(first_leaf_, 0); }
    Iterator last() const { return Iterator(last_leaf_, last_leaf_ ? last_leaf_->n - 1 : 0); }

    // Add an element; an equal one must not be there. Throws bad_alloc and has then added nothing.
    void insert(uint64_t order, Entry *entry) {
        const char *data = Bytes::data(entry);
        size_t length = Bytes::size(entry);
        Step path[kHeightMax];
        if (size_ == 0 || is_above_all(order, data, length)) {
            append(order, entry);
            return;
        }
        // Full nodes are split on the way down: each split leaves a sound tree behind.
        if (root_->n == kMax) split_root();
        Node *node = root_;
        for (unsigned level = 0; level < height_; level++) {
            Inner *inner = static_cast<Inner *>(node);
            unsigned at = child_for(inner, order, data, length);
            if (inner->children[at]->n == kMax) {
                split_child(inner, at, level + 1 == height_);
                at = child_for(inner, order, data, length);
            }
            path[level] = Step{inner, at};
            node = inner->children[at];
        }
        unsigned at = lower_in(node, order, data, length);
        KV_ASSERT(at == node->n || compare(node, at, order, data, length) != 0);
        move_items(node, at + 1, node, at, node->n - at, false);
        set_item(node, at, order, entry);
        node->n++;
        size_++;
        for (unsigned level = height_; level-- > 0; node = path[level].node) {
            path[level].node->counts[path[level].at]++;
            set_item(path[level].node, path[level].at, node->orders[0], node->entries[0]);
        }
    }

    // Add an element that is above all others, in constant time; leaves fill up. Throws as insert.
    void append(uint64_t order, Entry *entry) {
        Inner *edge[kHeightMax];
        if (root_ == nullptr) plant();
        KV_ASSERT(size_ == 0 || is_above_all(order, Bytes::data(entry), Bytes::size(entry)));
        Node *node = root_;
        for (unsigned level = 0; level < height_; level++) {
            edge[level] = static_cast<Inner *>(node);
            node = edge[level]->children[node->n - 1];
        }
        unsigned counted = height_;     // levels above the one that gets another child
        if (node->n < kMax) {
            set_item(node, node->n++, order, entry);
        } else {
            counted = add_branch(edge, order, entry);
        }
        for (unsigned level = 0; level < counted; level++) edge[level]->counts[edge[level]->n - 1]++;
        size_++;
    }

    // Remove the element (order, data[:n]); false if it is not there.
    bool erase(uint64_t order, const char *data, size_t n) {
        Step path[kHeightMax];
        if (size_ == 0) return false;
        Node *node = root_;
        for (unsigned level = 0; level < height_; level++) {
            Inner *inner = static_cast<Inner *>(node);
            path[level] = Step{inner, child_for(inner, order, data, n)};
            node = inner->children[path[level].at];
        }
        unsigned at = lower_in(node, order, data, n);
        if (at == node->n || compare(node, at, order, data, n) != 0) return false;
        node->n--;
        move_items(node, at, node, at + 1, node->n - at, false);
        size_--;
        for (unsigned level = height_; level-- > 0; node = path[level].node) {
            Inner *parent = path[level].node;
            at = path[level].at;
            parent->counts[at]--;
            set_item(parent, at, node->orders[0], node->entries[0]);
            if (node->n < kMin) refill(parent, at, level + 1 == height_);
        }
        lower_root();
        return true;
    }

    // Number of elements below (order, data[:n]).
    size_t lower_bound(uint64_t order, const char *data, size_t n) const {
        size_t rank;
        rank_of(order, data, n, &rank);
        return rank;
    }

    // Whether (order, data[:n]) is there; *rank = the number of elements below it in any case.
    bool rank_of(uint64_t order, const char *data, size_t n, size_t *rank) const {
        const Node *node = root_;
        *rank = 0;
        if (size_ == 0) return false;
        for (unsigned level = 0; level < height_; level++) {
            const Inner *inner = static_cast<const Inner *>(node);
            unsigned at = child_for(inner, order, data, n);
            for (unsigned i = 0; i < at; i++) *rank += inner->counts[i];
            node = inner->children[at];
        }
        unsigned at = lower_in(node, order, data, n);
        *rank += at;
        return at < node->n && compare(node, at, order, data, n) == 0;
    }

    // The element of this rank; an iterator that is not valid if there is none.
    Iterator at(size_t rank) const {
        const Node *node = root_;
        if (rank >= size_) return Iterator();
        for (unsigned level = 0; level < height_; level++) {
            const Inner *inner = static_cast<const Inner *>(node);
            unsigned i = 0;
            for (; rank >= inner->counts[i]; i++) rank -= inner->counts[i];
            node = inner->children[i];
        }
        return Iterator(static_cast<const Leaf *>(node), static_cast<unsigned>(rank));
    }

    // Release at most `nodes` nodes, from the end of a tree that is used no more; true once it is
    // empty. Until then only free_some, clear, size and bytes may be called.
    bool free_some(size_t nodes) {
        while (nodes > 0 && root_ != nullptr) {
            Inner *parent = nullptr;
            Node *node = root_;
            unsigned level = 0;
            while (level < height_ && node->n > 0) {
                parent = static_cast<Inner *>(node);
                node = parent->children[parent->n - 1];
                level++;
            }
            if (level == height_) {
                size_ -= node->n;
                release(static_cast<Leaf *>(node));
            } else {
                release(static_cast<Inner *>(node));
            }
            nodes--;
            if (parent == nullptr) forget();
            else parent->n--;
        }
        return root_ == nullptr;
    }

    void clear() { free_some(SIZE_MAX); }

    // Verify the invariants, in O(n); nullptr, or which one is broken.
    const char *check() const {
        if (root_ == nullptr) {
            bool is_empty = !size_ && !bytes_ && !height_ && !first_leaf_ && !last_leaf_;
            return is_empty ? nullptr : "7: an empty tree has neither size nor memory";
        }
        Walk walk;
        if (const char *broken = check_node(root_, 0, true, &walk)) return broken;
        if (walk.leaf != last_leaf_ || last_leaf_->next) return "6: the chain of leaves ends wrong";
        if (walk.elements != size_) return "7: size is not the number of elements";
        if (walk.bytes != bytes_) return "7: bytes is not the memory of the nodes";
        return nullptr;
    }

    // Break invariant `number`, to see that check() says so: for its test only. Nothing but check,
    // clear and the destructor may follow. False if the tree is too small or cannot be so broken.
    bool damage(int number) {
        if (height_ == 0) return false;
        Inner *root = static_cast<Inner *>(root_);
        switch (number) {
        case 1:
            std::swap(first_leaf_->orders[1], first_leaf_->orders[2]);
            std::swap(first_leaf_->entries[1], first_leaf_->entries[2]);
            return true;
        case 3:
            first_leaf_->n = kMin - 1;
            return true;
        case 4:
            root->counts[0]++;
            return true;
        case 5:
            root->entries[0] = first_leaf_->entries[1];
            return true;
        case 6:
            last_leaf_->previous = nullptr;
            return true;
        case 7:
            size_++;
            return true;
        default:
            return false;
        }
    }

  private:
    struct Walk {
        const Leaf *leaf = nullptr;     // the last one seen
        uint64_t order = 0;             // the last element seen
        const Entry *entry = nullptr;
        size_t elements = 0;
        size_t bytes = 0;
    };

    // -- searching ------------------------------------------------------------------------------

    static int compare_bytes(const Entry *entry, const char *data, size_t n) {
        size_t have = Bytes::size(entry);
        size_t common = have < n ? have : n;
        int sign = common ? memcmp(Bytes::data(entry), data, common) : 0;   // data may be null
        return sign ? sign : (have > n) - (have < n);
    }

    static int compare(const Node *node, unsigned at, uint64_t order, const char *data, size_t n) {
        if (node->orders[at] != order) return node->orders[at] < order ? -1 : 1;
        return compare_bytes(node->entries[at], data, n);
    }

    // First of n ascending orders that is not below `order`, without a branch to mispredict.
    static unsigned position(const uint64_t *orders, unsigned n, uint64_t order) {
        const uint64_t *base = orders;
        while (n > 1) {
            unsigned half = n / 2;
            base += base[half - 1] < order ? half : 0;
            n -= half;
        }
        return static_cast<unsigned>(base - orders) + (n == 1 && *base < order);
    }

    // First item of a node that is not below (order, data[:n]). Entries, which lie elsewhere in
    // memory, are read only among those of the same order.
    static unsigned lower_in(const Node *node, uint64_t order, const char *data, size_t n) {
        unsigned low = position(node->orders, node->n, order);
        if (low == node->n || node->orders[low] != order || n == 0) return low;
        unsigned high = node->n;
        if (order != UINT64_MAX) high = low + position(node->orders + low, high - low, order + 1);
        while (low < high) {
            unsigned middle = (low + high) / 2;
            if (compare_bytes(node->entries[middle], data, n) < 0) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    // The child below which (order, data[:n]) is, or would be.
    static unsigned child_for(const Inner *node, uint64_t order, const char *data, size_t n) {
        unsigned at = lower_in(node, order, data, n);
        if (at < node->n && compare(node, at, order, data, n) == 0) return at;
        return at == 0 ? 0 : at - 1;
    }

    bool is_above_all(uint64_t order, const char *data, size_t n) const {
        return compare(last_leaf_, last_leaf_->n - 1, order, data, n) < 0;
    }

    // -- nodes ----------------------------------------------------------------------------------

    template <typename T>
    T *make() {
        T *node = static_cast<T *>(malloc(sizeof(T)));
        if (node == nullptr) throw std::bad_alloc();
        node->n = 0;
        bytes_ += sizeof(T);
        return node;
    }

    template <typename T>
    void release(T *node) {
        bytes_ -= sizeof(T);
        free(node);
    }

    void plant() {
        Leaf *leaf = make<Leaf>();
        leaf->previous = leaf->next = nullptr;
        root_ = first_leaf_ = last_leaf_ = leaf;
    }

    void forget() {
        KV_ASSERT(bytes_ == 0);
        root_ = nullptr;
        first_leaf_ = last_leaf_ = nullptr;
        height_ = 0;
        size_ = 0;
    }

    static void set_item(Node *node, unsigned at, uint64_t order, Entry *entry) {
        node->orders[at] = order;
        node->entries[at] = entry;
    }

    // Move n items; the two runs may overlap.
    static void move_items(Node *to, unsigned to_at, Node *from, unsigned at, unsigned n,
                           bool is_inner) {
        memmove(to->orders + to_at, from->orders + at, n * sizeof(uint64_t));
        memmove(to->entries + to_at, from->entries + at, n * sizeof(Entry *));
        if (is_inner) {
            Inner *a = static_cast<Inner *>(to);
            Inner *b = static_cast<Inner *>(from);
            memmove(a->counts + to_at, b->counts + at, n * sizeof(uint64_t));
            memmove(a->children + to_at, b->children + at, n * sizeof(Node *));
        }
    }

    // Write anew what a node states about a child.
    static void describe(Inner *node, unsigned at, Node *child, bool is_leaf) {
        uint64_t count = child->n;
        if (!is_leaf) {
            count = 0;
            for (unsigned i = 0; i < child->n; i++) count += static_cast<Inner *>(child)->counts[i];
        }
        node->children[at] = child;
        node->counts[at] = count;
        set_item(node, at, child->orders[0], child->entries[0]);
    }

    void chain_after(Leaf *left, Leaf *leaf) {
        leaf->previous = left;
        leaf->next = left->next;
        (left->next ? left->next->previous : last_leaf_) = leaf;
        left->next = leaf;
    }

    void unchain(Leaf *leaf) {
        (leaf->previous ? leaf->previous->next : first_leaf_) = leaf->next;
        (leaf->next ? leaf->next->previous : last_leaf_) = leaf->previous;
    }

    // -- growing --------------------------------------------------------------------------------

    // Cut a full child in halves. The parent has room.
    void split_child(Inner *parent, unsigned at, bool is_leaf) {
        Node *left = parent->children[at];
        Node *right = is_leaf ? static_cast<Node *>(make<Leaf>()) : make<Inner>();
        left->n = kMax - kMin;
        right->n = kMin;
        move_items(right, 0, left, left->n, right->n, !is_leaf);
        if (is_leaf) chain_after(static_cast<Leaf *>(left), static_cast<Leaf *>(right));
        move_items(parent, at + 2, parent, at + 1, parent->n - at - 1, true);
        parent->n++;
        describe(parent, at, left, is_leaf);
        describe(parent, at + 1, right, is_leaf);
    }

    void split_root() {
        KV_ASSERT(height_ + 1 < kHeightMax);
        Inner *top = make<Inner>();
        top->n = 1;
        describe(top, 0, root_, height_ == 0);
        try {
            split_child(top, 0, height_ == 0);
        } catch (...) {
            release(top);
            throw;
        }
        root_ = top;
        height_++;
    }

    // The right edge's leaf is full: hang a branch that holds one element under the lowest node of
    // the edge that has room, or under a new root. Returns how many levels lie above that node.
    unsigned add_branch(Inner **edge, uint64_t order, Entry *entry) {
        Inner *made[kHeightMax];
        unsigned n = 0;
        unsigned level = height_;
        KV_ASSERT(height_ + 1 < kHeightMax);
        while (level > 0 && edge[level - 1]->n == kMax) level--;
        unsigned wanted = height_ - level + (level == 0);
        Leaf *leaf = make<Leaf>();
        try {
            while (n < wanted) {
                made[n] = make<Inner>();
                n++;
            }
        } catch (...) {
            while (n > 0) release(made[--n]);
            release(leaf);
            throw;
        }
        leaf->n = 1;
        set_item(leaf, 0, order, entry);
        chain_after(last_leaf_, leaf);
        Node *branch = leaf;
        for (unsigned i = 0; i < height_ - level; i++) {
            made[i]->n = 1;
            describe(made[i], 0, branch, i == 0);
            branch = made[i];
        }
        if (level == 0) {
            Inner *top = made[wanted - 1];
            top->n = 2;
            describe(top, 0, root_, height_ == 0);
            describe(top, 1, branch, height_ == 0);
            root_ = top;
            height_++;
            return 0;
        }
        Inner *parent = edge[level - 1];
        describe(parent, parent->n++, branch, level == height_);
        return level - 1;
    }

    // -- shrinking ------------------------------------------------------------------------------

    // Bring a child that has too few items together with a neighbour.
    void refill(Inner *parent, unsigned at, bool is_leaf) {
        if (parent->n == 1) {       // the right edge: alone there, and few are enough
            if (parent->children[0]->n == 0) drop(parent, 0, is_leaf);
            return;
        }
        unsigned i = at > 0 ? at - 1 : 0;
        Node *left = parent->children[i];
        Node *right = parent->children[i + 1];
        unsigned total = left->n + right->n;
        if (total <= kMax) {
            move_items(left, left->n, right, 0, right->n, !is_leaf);
            left->n = total;
            drop(parent, i + 1, is_leaf);
        } else {
            unsigned half = total / 2;
            if (left->n < half) {
                unsigned n = half - left->n;
                move_items(left, left->n, right, 0, n, !is_leaf);
                move_items(right, 0, right, n, right->n - n, !is_leaf);
            } else {
                unsigned n = left->n - half;
                move_items(right, n, right, 0, right->n, !is_leaf);
                move_items(right, 0, left, half, n, !is_leaf);
            }
            left->n = half;
            right->n = total - half;
            describe(parent, i + 1, right, is_leaf);
        }
        describe(parent, i, left, is_leaf);
    }

    // Release a child whose items are gone.
    void drop(Inner *parent, unsigned at, bool is_leaf) {
        Node *child = parent->children[at];
        if (is_leaf) {
            unchain(static_cast<Leaf *>(child));
            release(static_cast<Leaf *>(child));
        } else {
            release(static_cast<Inner *>(child));
        }
        parent->n--;
        move_items(parent, at, parent, at + 1, parent->n - at, true);
    }

    void lower_root() {
        while (height_ > 0 && root_->n == 1) {
            Inner *top = static_cast<Inner *>(root_);
            root_ = top->children[0];
            release(top);
            height_--;
        }
        if (size_ == 0) clear();
    }

    // -- checking -------------------------------------------------------------------------------

    // on_edge: whether the node lies on the right edge.
    const char *check_node(const Node *node, unsigned level, bool on_edge, Walk *walk) const {
        unsigned low = level == 0 && height_ > 0 ? 2 : on_edge ? 1 : kMin;
        if (node->n < low || node->n > kMax) return "3: a node holds too few or too many";
        if (level == height_) return check_leaf(static_cast<const Leaf *>(node), walk);
        const Inner *inner = static_cast<const Inner *>(node);
        walk->bytes += sizeof(Inner);
        for (unsigned i = 0; i < node->n; i++) {
            const Node *child = inner->children[i];
            size_t before = walk->elements;
            bool child_on_edge = on_edge && i + 1 == node->n;
            if (const char *broken = check_node(child, level + 1, child_on_edge, walk)) return broken;
            if (walk->elements - before != inner->counts[i]) return "4: a count is wrong";
            if (inner->orders[i] != child->orders[0] || inner->entries[i] != child->entries[0])
                return "5: a first element is wrong";
        }
        return nullptr;
    }

    // That leaves are found in their order at one depth proves invariant 2 with the chain's.
    const char *check_leaf(const Leaf *leaf, Walk *walk) const {
        walk->bytes += sizeof(Leaf);
        if (leaf->previous != walk->leaf) return "6: a leaf's previous is wrong";
        if ((walk->leaf ? walk->leaf->next : first_leaf_) != leaf) return "6: a leaf's next is wrong";
        for (unsigned i = 0; i < leaf->n; i++) {
            const Entry *entry = leaf->entries[i];
            if (walk->elements > 0) {
                int sign = (walk->order > leaf->orders[i]) - (walk->order < leaf->orders[i]);
                if (sign == 0)
                    sign = compare_bytes(walk->entry, Bytes::data(entry), Bytes::size(entry));
                if (sign >= 0) return "1: elements do not ascend";
            }
            walk->order = leaf->orders[i];
            walk->entry = entry;
            walk->elements++;
        }
        walk->leaf = leaf;
        return nullptr;
    }

    Node *root_ = nullptr;
    Leaf *first_leaf_ = nullptr;
    Leaf *last_leaf_ = nullptr;
    unsigned height_ = 0;       // levels of inner nodes
    size_t size_ = 0;
    size_t bytes_ = 0;
};

}  // namespace kvnode
