// Who may go on: the budget of steps, the cap on memory and the stop of one Lua state.
//
// One LuaControl belongs to one lua_State and is the `ud` of its allocator, so lua_control(L) finds
// it from any coroutine in one call. Between lua_begin and lua_end the state is *armed*:
//
//   steps    One step is about 10 ns of work: an instruction of the virtual machine, a byte matched,
//            64 bytes copied. A count hook charges instructions, our libraries charge their loops
//            (lua_spend), the allocator what is copied into large blocks. At 0 `more_steps` is
//            asked; if it gives none, the script is stopped. It should look at a clock: where blocks
//            are large, what is charged is what the instructions could have cost at most.
//   memory   The allocator refuses what would go past `memory_cap`, and the script is stopped. Off
//            the armed time nothing is refused: a plain push would end the process. Lua 5.1 paces its
//            collector by the number of allocations, so a few large strings outrun it: from
//            `collect_at` bytes on the hook collects all garbage.
//   stopped  Once set it stays until lua_end. Each thread that runs raises at its next instruction;
//            pcall, xpcall and coroutine.resume of ours raise again instead of returning. So no
//            script goes on, and every frame of it is unwound at once.
//
// After a stop for memory the state must be closed, not used again: an error at any allocation is
// what Lua tests least.
#pragma once

#include <cstdlib>

#include "lua_api.hpp"

namespace kvnode {

// Steps between two calls of the hook, while all blocks are small.
constexpr int kHookSteps = 1000;
// A coroutine is charged so many steps when it is resumed, and its hook comes as often: else a script
// of many short coroutines would meet no hook at all.
constexpr int kResumeSteps = 100;
// One instruction may walk the largest block (compare two strings, clear a table). Where blocks are
// large the hook comes after fewer instructions, so that about this much is walked in between.
constexpr size_t kBytesBetweenHooks = size_t(16) << 20;
constexpr uint32_t kValueSteps = 4;             // to make a value of Lua
constexpr uint32_t kTableSteps = 10;            // to make a table, besides
constexpr size_t kLargeBlock = 4096;            // bytes; smaller ones are not charged
constexpr int kBytesPerStep = 64;

// kLuaInterrupted: by a command that it ran; the engine knows more.
enum LuaStop : int { kLuaRunning = 0, kLuaOutOfSteps = 1, kLuaOutOfMemory = 2, kLuaInterrupted = 3 };

// Settings of one cjson library; a script's changes end with it.
struct JsonSettings {
    int sparse_convert = 0, sparse_ratio = 2, sparse_safe = 10;
    int encode_depth = 1000, decode_depth = 1000;
    int encode_invalid = 0, decode_invalid = 1;
    int precision = 14;
    int keep_buffer = 1;
};

struct LuaControl {
    lua_State* main = nullptr;
    lua_State* running = nullptr;               // the thread whose code runs
    int64_t steps_left = 0;
    // Returns the steps that are given on top, or 0: stop. Must not raise or touch the state.
    int64_t (*more_steps)(void* arg) = nullptr;
    void* more_steps_arg = nullptr;
    int stopped = kLuaRunning;
    bool armed = false;
    size_t memory_used = 0;                     // bytes that the state holds
    size_t memory_cap = 0;                      // bytes; judged while armed
    size_t collect_at = 0;                      // bytes
    size_t largest_block = 0;                   // asked for while armed
    JsonSettings* json = nullptr;               // of the global cjson
    uint64_t random = 0x1234ABCD330Eull;        // math.random: 48 bits, as srand48 is never called
    int proxies_ref = LUA_NOREF;                // registry: real table -> its proxy
    int globals_ref = LUA_NOREF;                // registry: the real table of globals
    int stop_message_ref = LUA_NOREF;           // registry: made early, a raise must not allocate
    lua_Alloc first_alloc = nullptr;            // what lua_close will use
    void* first_alloc_ud = nullptr;
};

inline LuaControl* lua_control(lua_State* L) {
    void* ud;
    lua_getallocf(L, &ud);
    return static_cast<LuaControl*>(ud);
}

inline bool lua_blocks_are_large(const LuaControl* c) {
    return c->largest_block > kBytesBetweenHooks / kHookSteps;
}

// Return after how many instructions the hook has to come in the thread L.
inline int lua_hook_count(const LuaControl* c, lua_State* L) {
    size_t count = L == c->main ? kHookSteps : kResumeSteps;
    if (lua_blocks_are_large(c) && kBytesBetweenHooks / c->largest_block < count)
        count = kBytesBetweenHooks / c->largest_block;
    return count < 1 ? 1 : int(count);
}

// Return from where on to collect: when half of what is left is taken, but not for less than 1/64 of
// the cap.
inline size_t lua_collect_at(const LuaControl* c) {
    size_t left = c->memory_cap > c->memory_used ? c->memory_cap - c->memory_used : 0;
    return c->memory_used + (left / 2 > c->memory_cap / 64 ? left / 2 : c->memory_cap / 64);
}

inline void lua_hook(lua_State* L, lua_Debug*);

// Raise what no script can catch: see base_pcall.
[[noreturn]] inline void lua_raise_stop(lua_State* L, LuaControl* c) {
    lua_sethook(L, lua_hook, LUA_MASKCOUNT | LUA_MASKLINE, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->stop_message_ref);
    lua_error(L);
    abort();
}

// Slow path of lua_spend.
inline void lua_ask_for_steps(lua_State* L, LuaControl* c) {
    if (!c->armed)
        return;
    if (!c->stopped) {
        int64_t more = c->more_steps ? c->more_steps(c->more_steps_arg) : 0;
        if (more > 0) {
            c->steps_left = more;
            return;
        }
        c->stopped = kLuaOutOfSteps;
    }
    lua_raise_stop(L, c);
}

// Charge `steps` for work done or about to be done. Raises when the script has to stop.
inline void lua_spend(lua_State* L, size_t steps) {
    LuaControl* c = lua_control(L);
    constexpr size_t kMost = size_t(1) << 40;
    c->steps_left -= int64_t(steps < kMost ? steps : kMost);
    if (c->steps_left <= 0 || c->stopped)
        lua_ask_for_steps(L, c);
}

// A tally of cheap steps in a C loop: charged in lots.
struct LuaTally {
    lua_State* L;
    uint32_t steps = 0;
    void step(uint32_t n = 1) {
        steps += n;
        if (steps >= 1024)
            pay();
    }
    void pay() {
        uint32_t paid = steps;
        steps = 0;
        lua_spend(L, paid);
    }
};

// Collect all garbage. Raises when the steps for it are not there.
inline void lua_collect(lua_State* L, LuaControl* c) {
    lua_spend(L, c->memory_used / kBytesPerStep);
    lua_gc(L, LUA_GCCOLLECT, 0);
    c->collect_at = lua_collect_at(c);
}

// To be called before a library asks for a block of n bytes, which may be large: makes room for it if
// there is garbage. Raises.
inline void lua_make_room(lua_State* L, size_t n) {
    LuaControl* c = lua_control(L);
    if (n >= kLargeBlock && c->armed && c->memory_used < c->memory_cap &&
        n > c->memory_cap - c->memory_used && n <= c->memory_cap)
        lua_collect(L, c);
}

inline void lua_hook(lua_State* L, lua_Debug*) {
    LuaControl* c = lua_control(L);
    if (!c->armed)
        return;
    if (c->stopped)
        lua_raise_stop(L, c);
    if (c->memory_used > c->collect_at)
        lua_collect(L, c);
    int count = lua_hook_count(c, L);
    if (count != lua_gethookcount(L))
        lua_sethook(L, lua_hook, LUA_MASKCOUNT, count);
    if (lua_blocks_are_large(c))
        lua_spend(L, kBytesBetweenHooks / kBytesPerStep);
    else
        lua_spend(L, size_t(count));
}

inline void* lua_capped_alloc(void* ud, void* block, size_t old_bytes, size_t new_bytes) {
    LuaControl* c = static_cast<LuaControl*>(ud);
    if (new_bytes == 0) {
        free(block);
        c->memory_used -= old_bytes;
        return nullptr;
    }
    if (new_bytes > old_bytes && c->armed) {
        size_t growth = new_bytes - old_bytes;
        size_t room = c->memory_cap > c->memory_used ? c->memory_cap - c->memory_used : 0;
        if (growth > room) {
            c->stopped = kLuaOutOfMemory;
            return nullptr;
        }
        if (new_bytes >= kLargeBlock) {
            c->steps_left -= int64_t(new_bytes / kBytesPerStep);
            bool larger = new_bytes > c->largest_block;
            if (larger)
                c->largest_block = new_bytes;
            // The hook is set from here as from a signal handler: Lua looks at it at the next
            // instruction. It then collects or asks for steps, and takes its new count.
            if (c->steps_left <= 0 || (larger && lua_blocks_are_large(c)) ||
                c->memory_used + growth > c->collect_at)
                lua_sethook(c->running, lua_hook, LUA_MASKCOUNT, 1);
        }
    }
    void* moved = realloc(block, new_bytes);
    if (moved == nullptr) {
        c->stopped = kLuaOutOfMemory;
        return nullptr;
    }
    c->memory_used += new_bytes - old_bytes;    // wraps when it shrinks, as meant
    return moved;
}

// Open the armed time. `steps` are given at once, `memory_cap` bounds memory_used. Does not raise.
inline void lua_begin(LuaControl* c, int64_t steps, size_t memory_cap) {
    c->steps_left = steps;
    c->memory_cap = memory_cap;
    c->collect_at = lua_collect_at(c);
    c->stopped = kLuaRunning;
    c->largest_block = 0;
    c->running = c->main;
    if (c->json != nullptr)
        *c->json = JsonSettings();
    if (lua_gethookcount(c->main) != kHookSteps)
        lua_sethook(c->main, lua_hook, LUA_MASKCOUNT, kHookSteps);
    c->armed = true;
}

// Close it; before anything else touches the state. Returns why the script was stopped, or 0.
inline int lua_end(LuaControl* c) {
    c->armed = false;
    int stopped = c->stopped;
    c->stopped = kLuaRunning;
    return stopped;
}

// Take a state over: its allocator, its hook. Raises when memory is out.
inline void lua_take_over(LuaControl* c, lua_State* L) {
    c->main = c->running = L;
    lua_pushstring(L, "script stopped");
    c->stop_message_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    c->memory_used = size_t(lua_gc(L, LUA_GCCOUNT, 0)) * 1024 + size_t(lua_gc(L, LUA_GCCOUNTB, 0));
    c->first_alloc = lua_getallocf(L, &c->first_alloc_ud);
    lua_setallocf(L, lua_capped_alloc, c);
    lua_sethook(L, lua_hook, LUA_MASKCOUNT, kHookSteps);
}

// Give it back for lua_close, which may come after the LuaControl is gone.
inline void lua_give_back(LuaControl* c) {
    if (c->main == nullptr)
        return;
    lua_sethook(c->main, nullptr, 0, 0);
    lua_setallocf(c->main, c->first_alloc, c->first_alloc_ud);
    c->main = nullptr;
}

}  // namespace kvnode
