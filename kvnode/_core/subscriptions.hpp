// Who is subscribed to what: channels and patterns by name, and what each subscriber has of them.
//
// Adding, removing and finding take constant time, whatever the number of subscribers. Hashes come
// from the caller, keyed: clients choose the names.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace kvnode {

enum SubscriptionKind { kChannels = 0, kPatterns = 1, kShardChannels = 2, kSubscriptionKinds = 3 };

struct Subscriber;
struct Channel;

struct Subscription {
    Subscriber* subscriber;
    Channel* channel;
    size_t place;               // in channel->subscriptions
    Subscription* before;       // of the same subscriber and kind, in the order of subscribing
    Subscription* behind;
};

struct Channel {                // or a pattern; it exists as long as somebody is subscribed to it
    std::string name;
    int kind;
    uint64_t hash;
    Channel* chained;           // next one of the same hash
    size_t place;               // among all of its kind
    std::vector<Subscription*> subscriptions;
};

struct Subscriber {
    void* session;
    std::unordered_map<Channel*, Subscription*> by_channel;
    Subscription* first[kSubscriptionKinds] = {};
    Subscription* last[kSubscriptionKinds] = {};
    size_t counts[kSubscriptionKinds] = {};
};

class Subscriptions {
  public:
    ~Subscriptions() {
        for (auto& channels : all_) {
            for (Channel* channel : channels) {
                for (Subscription* s : channel->subscriptions) {
                    delete s;
                }
                delete channel;
            }
        }
    }

    Channel* find(int kind, uint64_t hash, const char* name, size_t n) const {
        auto found = by_hash_[kind].find(hash);
        Channel* channel = found == by_hash_[kind].end() ? nullptr : found->second;
        while (channel != nullptr && channel->name.compare(0, std::string::npos, name, n) != 0) {
            channel = channel->chained;
        }
        return channel;
    }

    // Whether the subscription is new.
    bool add(Subscriber* subscriber, int kind, uint64_t hash, const char* name, size_t n) {
        Channel* channel = find(kind, hash, name, n);
        if (channel == nullptr) {
            channel = make(kind, hash, name, n);
        } else if (subscriber->by_channel.count(channel)) {
            return false;
        }
        Subscription* last = subscriber->last[kind];
        auto* s = new Subscription{subscriber, channel, channel->subscriptions.size(), last, nullptr};
        channel->subscriptions.push_back(s);
        subscriber->by_channel[channel] = s;
        (last != nullptr ? last->behind : subscriber->first[kind]) = s;
        subscriber->last[kind] = s;
        subscriber->counts[kind]++;
        count_++;
        return true;
    }

    void remove(Subscription* s) {
        Subscriber* subscriber = s->subscriber;
        Channel* channel = s->channel;
        int kind = channel->kind;
        (s->before != nullptr ? s->before->behind : subscriber->first[kind]) = s->behind;
        (s->behind != nullptr ? s->behind->before : subscriber->last[kind]) = s->before;
        subscriber->by_channel.erase(channel);
        subscriber->counts[kind]--;
        count_--;
        channel->subscriptions.back()->place = s->place;
        channel->subscriptions[s->place] = channel->subscriptions.back();
        channel->subscriptions.pop_back();
        if (channel->subscriptions.empty()) {
            drop(channel);
        }
        delete s;
    }

    Subscription* find_of(Subscriber* subscriber, int kind, uint64_t hash, const char* name,
                          size_t n) const {
        Channel* channel = find(kind, hash, name, n);
        if (channel == nullptr) {
            return nullptr;
        }
        auto found = subscriber->by_channel.find(channel);
        return found == subscriber->by_channel.end() ? nullptr : found->second;
    }

    const std::vector<Channel*>& all(int kind) const { return all_[kind]; }
    size_t count() const { return count_; }
    size_t name_bytes() const { return name_bytes_; }

  private:
    Channel* make(int kind, uint64_t hash, const char* name, size_t n) {
        Channel*& chain = by_hash_[kind][hash];
        chain = new Channel{std::string(name, n), kind, hash, chain, all_[kind].size(), {}};
        all_[kind].push_back(chain);
        name_bytes_ += n;
        return chain;
    }

    void drop(Channel* channel) {
        auto found = by_hash_[channel->kind].find(channel->hash);
        Channel** link = &found->second;
        while (*link != channel) {
            link = &(*link)->chained;
        }
        *link = channel->chained;
        if (found->second == nullptr) {
            by_hash_[channel->kind].erase(found);
        }
        auto& all = all_[channel->kind];
        all.back()->place = channel->place;
        all[channel->place] = all.back();
        all.pop_back();
        name_bytes_ -= channel->name.size();
        delete channel;
    }

    std::unordered_map<uint64_t, Channel*> by_hash_[kSubscriptionKinds];
    std::vector<Channel*> all_[kSubscriptionKinds];
    size_t count_ = 0;
    size_t name_bytes_ = 0;
};

}  // namespace kvnode
