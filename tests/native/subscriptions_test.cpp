// Subscriptions against a model of sets, with few hashes, so that chains form.
//
//     subscriptions_test SEED OPERATIONS [loses]     loses: planted, the model forgets a removal
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <string>

#include "subscriptions.hpp"

using namespace kvnode;

static std::mt19937_64 random_bits;

static size_t below(size_t n) { return random_bits() % n; }

static void require(bool holds, const char* what) {
    if (!holds) {
        printf("FAILED: %s\n", what);
        exit(1);
    }
}

int main(int argc, char** argv) {
    random_bits.seed(strtoull(argv[1], nullptr, 10));
    size_t operations = strtoull(argv[2], nullptr, 10);
    bool loses = argc > 3;
    const size_t kClients = 20, kNames = 30, kHashes = 7;
    Subscriptions tested;
    std::vector<Subscriber> clients(kClients);
    std::map<std::pair<int, std::string>, std::set<size_t>> model;
    size_t count = 0;
    for (size_t i = 0; i < operations; i++) {
        size_t client = below(kClients), number = below(kNames);
        int kind = static_cast<int>(below(kSubscriptionKinds));
        std::string name = "name" + std::to_string(number);
        uint64_t hash = number % kHashes;
        auto& subscribed = model[{kind, name}];
        if (below(2)) {
            bool is_new = tested.add(&clients[client], kind, hash, name.data(), name.size());
            require(is_new == subscribed.insert(client).second, "a subscription is new once");
            count += is_new;
        } else if (below(50)) {
            Subscription* s = tested.find_of(&clients[client], kind, hash, name.data(), name.size());
            require((s != nullptr) == (subscribed.count(client) == 1), "who is subscribed");
            if (s != nullptr) {
                tested.remove(s);
                if (!loses) subscribed.erase(client);
                count--;
            }
        } else {
            while (clients[client].first[kind] != nullptr) {
                const std::string& gone = clients[client].first[kind]->channel->name;
                require(model[{kind, gone}].erase(client) == 1, "all that a client has");
                tested.remove(clients[client].first[kind]);
                count--;
            }
            require(clients[client].counts[kind] == 0, "a client has nothing left");
        }
        require(tested.count() == count, "the number of subscriptions");
        Channel* channel = tested.find(kind, hash, name.data(), name.size());
        require((channel == nullptr) == model[{kind, name}].empty(), "a channel is there");
        if (channel == nullptr) continue;
        require(channel->subscriptions.size() == model[{kind, name}].size(), "its subscribers");
        for (size_t at = 0; at < channel->subscriptions.size(); at++) {
            Subscription* s = channel->subscriptions[at];
            require(s->place == at && s->channel == channel, "places");
            require(model[{kind, name}].count(s->subscriber - clients.data()), "who they are");
        }
    }
    size_t bytes = 0;
    for (int kind = 0; kind < kSubscriptionKinds; kind++) {
        for (Channel* channel : tested.all(kind)) bytes += channel->name.size();
    }
    require(bytes == tested.name_bytes(), "bytes of names");
    printf("ok\n");
    return 0;
}
