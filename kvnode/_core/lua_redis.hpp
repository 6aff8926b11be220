// The `redis` library of scripts: redis.call and what belongs to it.
//
// A LuaHost stands between a state and the commands of the node. Its functions are called with the
// GIL held: a script on another thread gives it up (`thread`) and takes it for each command.
#pragma once

#include <Python.h>

#include <cstdio>
#include <cstdlib>

#include "lua_libraries.hpp"
#include "lua_redis_reply.hpp"
#include "sha1.hpp"

namespace kvnode {

// About 1 us of work: finding a command, its checks, its handler.
constexpr size_t kCallSteps = 100;
constexpr size_t kNumberBytesMax = 32;          // of an argument that is a number
constexpr int kLogLevels = 4;

class LuaFunctionList;

struct LuaHost {
    void* engine = nullptr;
    // Run a command: 0, its reply is in `reply`; else the script has to stop for this reason.
    int (*execute)(void* engine, const LuaSlice* args, int n) = nullptr;
    int (*knows_command)(void* engine, const LuaSlice* args, int n) = nullptr;
    void (*log)(void* engine, int level, const char* text, size_t n) = nullptr;
    PyThreadState* thread = nullptr;            // while the GIL is given up
    const char* reply = nullptr;
    size_t reply_bytes = 0;
    bool reply_is_nil = false;                  // in place of `reply`
    int resp = 2;                               // in which commands answer the script
    LuaSlice* args = nullptr;
    char* numbers = nullptr;
    int args_max = 0;
    LuaOutput out;                              // the script's reply
    LuaFunctionList* registered = nullptr;      // while a library is loaded
    LuaHost() {}
    LuaHost(const LuaHost&) = delete;
    ~LuaHost() {
        free(args);
        free(numbers);
    }
};

inline LuaHost* redis_host(lua_State* L) {
    return static_cast<LuaHost*>(lua_touserdata(L, lua_upvalue_index(1)));
}

// Push {err = text}. Raises when memory is out.
inline void redis_push_error(lua_State* L, const char* text) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, text);
    lua_setfield(L, -2, "err");
}

[[noreturn]] inline void redis_raise(lua_State* L, const char* text) {
    redis_push_error(L, text);
    lua_error(L);
    abort();
}

// Run a native function of the engine, with the GIL. Does not raise.
template <typename F>
inline int redis_with_gil(LuaHost* h, F call) {
    if (h->thread == nullptr)
        return call();
    PyEval_RestoreThread(h->thread);
    h->thread = nullptr;
    int result = call();
    h->thread = PyEval_SaveThread();
    return result;
}

inline bool redis_room_for(LuaHost* h, int n) {
    if (n <= h->args_max)
        return true;
    int most = n < 32 ? 32 : n;
    void* args = realloc(h->args, most * sizeof(LuaSlice));
    if (args == nullptr)
        return false;
    h->args = static_cast<LuaSlice*>(args);
    void* numbers = realloc(h->numbers, most * kNumberBytesMax);
    if (numbers == nullptr)
        return false;
    h->numbers = static_cast<char*>(numbers);
    h->args_max = most;
    return true;
}

// The text of a number as an argument; returns its length.
inline size_t redis_format_number(double number, char* text) {
    constexpr double kMost = 4611686018427387904.0;
    if (number >= -kMost && number <= kMost && number == double(int64_t(number)))
        return size_t(snprintf(text, kNumberBytesMax, "%lld", (long long)number));
    return size_t(snprintf(text, kNumberBytesMax, "%.17g", number));
}

// Take the arguments on the stack, which stay there; nullptr, or what is wrong with them.
inline const char* redis_take_args(lua_State* L, LuaHost* h, int n) {
    if (n == 0)
        return "ERR Please specify at least one argument for this redis lib call";
    if (!redis_room_for(h, n))
        return "ERR out of memory";
    for (int i = 0; i < n; i++) {
        LuaSlice* arg = &h->args[i];
        int type = lua_type(L, i + 1);
        if (type == LUA_TSTRING) {
            arg->data = lua_tolstring(L, i + 1, &arg->len);
        } else if (type == LUA_TNUMBER) {
            char* text = h->numbers + size_t(i) * kNumberBytesMax;
            arg->data = text;
            arg->len = redis_format_number(lua_tonumber(L, i + 1), text);
        } else {
            return "ERR Lua redis lib command arguments must be strings or integers";
        }
    }
    return nullptr;
}

inline int redis_run(lua_State* L, bool raises) {
    LuaHost* h = redis_host(L);
    int n = lua_gettop(L);
    if (const char* wrong = redis_take_args(L, h, n)) {
        redis_push_error(L, wrong);
        return raises ? lua_error(L) : 1;
    }
    lua_spend(L, kCallSteps);
    int stop = redis_with_gil(h, [&] { return h->execute(h->engine, h->args, n); });
    if (stop != 0) {
        LuaControl* c = lua_control(L);
        c->stopped = stop;
        lua_raise_stop(L, c);
    }
    if (h->reply_is_nil) {
        lua_pushnil(L);
        return 1;
    }
    lua_spend(L, h->reply_bytes / 8);
    lua_make_room(L, h->reply_bytes);
    redis_push_reply(L, h->reply);
    if (h->reply[0] == '-' && raises)
        return lua_error(L);
    return 1;
}

inline int redis_call(lua_State* L) { return redis_run(L, true); }
inline int redis_pcall(lua_State* L) { return redis_run(L, false); }

// A table of one field, of which the argument is the value: what a script returns as its reply.
inline int redis_one_field(lua_State* L, const char* field) {
    if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING) {
        redis_push_error(L, "ERR wrong number or type of arguments");
        return 1;
    }
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, field);
    return 1;
}

inline int redis_status_reply(lua_State* L) { return redis_one_field(L, "ok"); }

inline int redis_error_reply(lua_State* L) {
    if (lua_gettop(L) != 1 || lua_type(L, 1) != LUA_TSTRING)
        return redis_one_field(L, "err");
    size_t n;
    const char* text = lua_tolstring(L, 1, &n);
    if (n > 0 && text[0] == '-') {
        text++;
        n--;
    }
    while (n > 0 && (text[n - 1] == '\r' || text[n - 1] == '\n'))
        n--;
    // A text of one word gets a code in front.
    bool has_code = memchr(text, ' ', n) != nullptr;
    lua_createtable(L, 0, 1);
    lua_pushstring(L, has_code ? "" : "ERR ");
    lua_pushlstring(L, text, n);
    lua_concat(L, 2);
    lua_setfield(L, -2, "err");
    return 1;
}

inline int redis_sha1hex(lua_State* L) {
    if (lua_gettop(L) != 1)
        redis_raise(L, "ERR wrong number of arguments");
    size_t n = 0;
    const char* text = lua_tolstring(L, 1, &n);
    char hex[kSha1HexBytes];
    lua_spend(L, n / 4 + 50);
    sha1_hex(text, text == nullptr ? 0 : n, hex);
    lua_pushlstring(L, hex, kSha1HexBytes);
    return 1;
}

inline int redis_log(lua_State* L) {
    int n = lua_gettop(L);
    if (n < 2)
        redis_raise(L, "ERR redis.log() requires two arguments or more.");
    if (lua_type(L, 1) != LUA_TNUMBER)
        redis_raise(L, "ERR First argument must be a number (log level).");
    double level = lua_tonumber(L, 1);
    if (!(level >= 0 && level < kLogLevels))
        redis_raise(L, "ERR Invalid debug level.");
    LuaHost* h = redis_host(L);
    LuaBuffer text(L);
    luaL_checkstack(L, kLuaStackMin, "redis.log");
    for (int i = 2; i <= n; i++) {
        size_t bytes;
        const char* part = lua_tolstring(L, i, &bytes);
        if (part == nullptr)
            continue;
        if (i > 2)
            text.put(' ');
        text.put(part, bytes);
    }
    lua_spend(L, kCallSteps + text.size());
    const char* data = text.data();
    size_t bytes = text.size();
    redis_with_gil(h, [&] { return h->log(h->engine, int(level), data, bytes), 0; });
    return 0;
}

inline int redis_setresp(lua_State* L) {
    if (lua_gettop(L) != 1)
        redis_raise(L, "ERR redis.setresp() requires one argument.");
    double version = lua_tonumber(L, 1);
    if (version != 2 && version != 3)
        redis_raise(L, "ERR RESP version must be 2 or 3.");
    redis_host(L)->resp = int(version);
    return 0;
}

inline int redis_acl_check_cmd(lua_State* L) {
    LuaHost* h = redis_host(L);
    int n = lua_gettop(L);
    if (const char* wrong = redis_take_args(L, h, n))
        redis_raise(L, wrong);
    lua_spend(L, kCallSteps);
    if (!redis_with_gil(h, [&] { return h->knows_command(h->engine, h->args, n); }))
        redis_raise(L, "ERR Invalid command passed to redis.acl_check_cmd()");
    lua_pushboolean(L, 1);                      // a client that is let in may run any
    return 1;
}

inline int redis_replicate_commands(lua_State* L) {
    lua_pushboolean(L, 1);
    return 1;
}

// Effects of scripts always go to the log: what is asked for is checked and has no effect.
inline int redis_set_repl(lua_State* L) {
    if (lua_gettop(L) != 1)
        redis_raise(L, "ERR redis.set_repl() requires two arguments.");
    double flags = lua_tonumber(L, 1);
    if (int64_t(flags) & ~int64_t(3))
        redis_raise(L, "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or "
                       "REPL_NONE.");
    return 0;
}

inline int redis_breakpoint(lua_State* L) {
    lua_pushboolean(L, 0);                      // there is no debugger
    return 1;
}

inline int redis_debug(lua_State*) { return 0; }

constexpr const char* kRedisVersion = "7.4.0";  // as commands/context.py has it
constexpr int kRedisVersionNumber = 0x00070400;

// Set what the library has while a library of functions is loaded as well. Raises.
inline void redis_set_constants(lua_State* L) {
    static const char* const levels[] = {"LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"};
    for (int level = 0; level < kLogLevels; level++) {
        lua_pushinteger(L, level);
        lua_setfield(L, -2, levels[level]);
    }
    lua_pushstring(L, kRedisVersion);
    lua_setfield(L, -2, "REDIS_VERSION");
    lua_pushinteger(L, kRedisVersionNumber);
    lua_setfield(L, -2, "REDIS_VERSION_NUM");
}

// Set the library into the globals, under both of its names. Raises when memory is out.
inline void redis_open(lua_State* L, LuaHost* h) {
    static const LuaFunction functions[] = {
        {"call", redis_call},
        {"pcall", redis_pcall},
        {"error_reply", redis_error_reply},
        {"status_reply", redis_status_reply},
        {"sha1hex", redis_sha1hex},
        {"log", redis_log},
        {"setresp", redis_setresp},
        {"acl_check_cmd", redis_acl_check_cmd},
        {"replicate_commands", redis_replicate_commands},
        {"set_repl", redis_set_repl},
        {"breakpoint", redis_breakpoint},
        {"debug", redis_debug},
    };
    static const struct {
        const char* name;
        int value;
    } numbers[] = {
        {"REPL_NONE", 0}, {"REPL_AOF", 1}, {"REPL_SLAVE", 2}, {"REPL_REPLICA", 2}, {"REPL_ALL", 3},
    };
    luaL_checkstack(L, kLuaStackMin, "redis");
    lua_push_globals(L);
    lua_newtable(L);
    for (const LuaFunction& f : functions) {
        lua_pushlightuserdata(L, h);
        lua_pushcclosure(L, f.function, 1);
        lua_setfield(L, -2, f.name);
    }
    for (const auto& number : numbers) {
        lua_pushinteger(L, number.value);
        lua_setfield(L, -2, number.name);
    }
    redis_set_constants(L);
    lua_protect(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "redis");
    lua_setfield(L, -2, "server");
    lua_pop(L, 1);
}

// The message handler of a run: says where an error was raised. What is no table becomes one.
inline int redis_on_error(lua_State* L) {
    LuaControl* c = lua_control(L);
    if (c->stopped || lua_is_protected(L, 1))
        return 1;
    lua_settop(L, 1);
    luaL_checkstack(L, kLuaStackMin, "error");
    if (lua_type(L, 1) != LUA_TTABLE) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, "ERR ");
        if (lua_isstring(L, 1))
            lua_pushvalue(L, 1);
        else if (lua_type(L, 1) == LUA_TNIL)
            lua_pushstring(L, "nil");
        else if (lua_type(L, 1) == LUA_TBOOLEAN)
            lua_pushstring(L, lua_toboolean(L, 1) ? "true" : "false");
        else
            lua_pushfstring(L, "%s: %p", lua_typename_at(L, 1), lua_topointer(L, 1));
        lua_concat(L, 2);
        lua_setfield(L, -2, "err");
        lua_replace(L, 1);
    }
    lua_Debug frame;
    int level = 1;
    if (!lua_getstack(L, level, &frame))
        return 1;
    lua_getinfo(L, "Sl", &frame);
    if (frame.what[0] == 'C' && lua_getstack(L, 2, &frame))
        lua_getinfo(L, "Sl", &frame);
    lua_pushstring(L, "source");
    lua_pushstring(L, frame.source);
    lua_rawset(L, 1);
    lua_pushstring(L, "line");
    lua_pushinteger(L, frame.currentline);
    lua_rawset(L, 1);
    return 1;
}

// Write the value at the top to the host's output: what lua_pcall runs where that may take long.
inline int redis_write(lua_State* L) {
    LuaHost* h = redis_host(L);
    redis_write_value(L, &h->out, h->resp, 0);
    return 0;
}

// What stays at the bottom of the stack between runs.
enum RedisSlot : int {
    kSlotOnError = 1,
    kSlotWrite = 2,
    kSlotGlobals = 3,
    kSlotKeys = 4,                              // "KEYS"
    kSlotArgv = 5,
    kSlotsCount = 5,
};

// Push an array of strings. Raises when memory is out.
inline void redis_push_strings(lua_State* L, const LuaSlice* values, int n) {
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        lua_pushlstring(L, values[i].data, values[i].len);
        lua_rawseti(L, -2, i + 1);
    }
}

// A run of the function `ref` of the registry; its result is in the host's output. Returns the status
// of lua_pcall; an error value is at the top if it is not 0. *stopped: why it was stopped, or 0.
//
// Scripts find keys and arguments in globals, functions (as_arguments) get them.
inline int redis_run_function(lua_State* L, LuaHost* h, int ref, const LuaSlice* keys, int keys_count,
                              const LuaSlice* argv, int argv_count, bool as_arguments,
                              int64_t steps, size_t memory_cap, int* stopped) {
    LuaControl* c = lua_control(L);
    lua_settop(L, kSlotsCount);
    h->resp = 2;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    for (int k = 0; k < 2; k++) {
        lua_pushvalue(L, k == 0 ? kSlotKeys : kSlotArgv);
        if (as_arguments) {                     // nor do they see those of a script before
            lua_pushnil(L);
            lua_rawset(L, kSlotGlobals);
        }
        redis_push_strings(L, k == 0 ? keys : argv, k == 0 ? keys_count : argv_count);
        if (!as_arguments)
            lua_rawset(L, kSlotGlobals);
    }
    lua_begin(c, steps, memory_cap);
    int status = lua_pcall(L, as_arguments ? 2 : 0, 1, kSlotOnError);
    if (status == 0) {
        lua_pushvalue(L, kSlotWrite);
        lua_insert(L, -2);
        status = lua_pcall(L, 1, 0, kSlotOnError);
    }
    *stopped = lua_end(c);
    return status;
}

// -- for the engine; none of these raises ---------------------------------------------------------

inline int redis_describe_protected(lua_State* L) {
    LuaHost* h = static_cast<LuaHost*>(lua_touserdata(L, 2));
    const char* name = static_cast<const char*>(lua_touserdata(L, 3));
    LuaBuffer text(L);
    luaL_checkstack(L, kLuaStackMin, "error");
    size_t n;
    bool counts = true;
    h->out.clear(h->out.proto);
    if (lua_type(L, 1) != LUA_TTABLE || lua_is_protected(L, 1)) {
        const char* message = lua_isstring(L, 1) ? lua_tolstring(L, 1, &n) : nullptr;
        text.put("ERR Error running script ", 25);
        text.put(name, strlen(name));
        text.put(", ", 2);
        if (message == nullptr)
            text.put("execution failure", 17);
        else
            text.put(message, n < 100 ? n : 100);
    } else {
        lua_pushvalue(L, 1);
        redis_field(L, "err");
        if (lua_isstring(L, -1)) {
            const char* message = lua_tolstring(L, -1, &n);
            text.put(message, n);
        } else {
            text.put("ERR unknown error", 17);
        }
        lua_pop(L, 1);
        bool has_place = redis_field(L, "source") == LUA_TSTRING;
        lua_insert(L, -2);
        redis_field(L, "line");
        if (has_place && lua_isstring(L, -1)) {
            text.put(" script: ", 9);
            text.put(name, strlen(name));
            text.put(", on ", 5);
            const char* source = lua_tolstring(L, -3, &n);
            text.put(source, n);
            text.put(':');
            const char* line = lua_tolstring(L, -1, &n);
            text.put(line, n);
            text.put('.');
        }
        lua_pop(L, 1);
        counts = !(redis_field(L, "ignore_error_stats_update") == LUA_TBOOLEAN &&
                   lua_toboolean(L, -1));
    }
    redis_put_error(L, &h->out, text.data(), text.size(), counts);
    return 0;
}

// Write the error value at the top as the reply of the script `name`.
inline int redis_describe(lua_State* L, LuaHost* h, const char* name) {
    if (!lua_checkstack(L, 4))
        return LUA_ERRMEM;
    lua_pushcclosure(L, redis_describe_protected, 0);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, h);
    lua_pushlightuserdata(L, const_cast<char*>(name));
    return lua_pcall(L, 3, 0, 0);
}

inline int redis_install_protected(lua_State* L) {
    LuaHost* h = static_cast<LuaHost*>(lua_touserdata(L, 1));
    redis_open(L, h);
    lua_settop(L, 0);
    lua_pushcclosure(L, redis_on_error, 0);
    lua_pushlightuserdata(L, h);
    lua_pushcclosure(L, redis_write, 1);
    lua_push_globals(L);
    lua_pushstring(L, "KEYS");
    lua_pushstring(L, "ARGV");
    return kSlotsCount;
}

// Set the library into a state that is not sealed, and lay out the bottom of its stack; returns the
// status of lua_pcall.
inline int redis_install(lua_State* L, LuaHost* h) {
    lua_settop(L, 0);
    lua_pushcclosure(L, redis_install_protected, 0);
    lua_pushlightuserdata(L, h);
    return lua_pcall(L, 1, LUA_MULTRET, 0);
}

// Take everything from the stack that a run has left.
inline void redis_settle(lua_State* L) { lua_settop(L, kSlotsCount); }

// The text of the error value at the top, which stays there.
inline const char* redis_error_text(lua_State* L, size_t* n) {
    if (lua_type(L, -1) == LUA_TTABLE && !lua_is_protected(L, -1))
        redis_field(L, "err");
    const char* text = lua_isstring(L, -1) ? lua_tolstring(L, -1, n) : nullptr;
    if (text == nullptr) {
        text = "ERR unknown error";
        *n = strlen(text);
    }
    return text;
}

// Keep the function at the top, and pop it; returns its reference.
inline int redis_keep(lua_State* L) { return luaL_ref(L, LUA_REGISTRYINDEX); }

inline void redis_drop(lua_State* L, int ref) { luaL_unref(L, LUA_REGISTRYINDEX, ref); }

}  // namespace kvnode
