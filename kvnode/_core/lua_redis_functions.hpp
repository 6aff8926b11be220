// Libraries of functions: redis.register_function, and the globals that a library finds while its top
// level runs. They are few, as in Redis: what functions use they find when they are called.
#pragma once

#include <string>
#include <vector>

#include "lua_redis.hpp"

namespace kvnode {

// What a library has registered.
class LuaFunctionList {
  public:
    size_t size() const { return functions_.size(); }
    const char* name(size_t i) const { return functions_[i].name.data(); }
    size_t name_bytes(size_t i) const { return functions_[i].name.size(); }
    const char* description(size_t i) const {
        return functions_[i].has_description ? functions_[i].description.data() : nullptr;
    }
    size_t description_bytes(size_t i) const { return functions_[i].description.size(); }
    unsigned flags(size_t i) const { return functions_[i].flags; }
    int ref(size_t i) const { return functions_[i].ref; }

    bool has(const char* name, size_t n) const {
        for (const Function& function : functions_)
            if (function.name.size() == n && memcmp(function.name.data(), name, n) == 0)
                return true;
        return false;
    }
    void add(const char* name, size_t n, const char* description, size_t description_bytes,
             unsigned flags, int ref) {
        functions_.push_back({std::string(name, n),
                              std::string(description == nullptr ? "" : description,
                                          description_bytes),
                              description != nullptr, flags, ref});
    }

  private:
    struct Function {
        std::string name, description;
        bool has_description;
        unsigned flags;
        int ref;
    };
    std::vector<Function> functions_;
};

struct FunctionFlag {
    const char* name;
    unsigned flag;                              // ScriptFlag of script_cache.pxd
};
static const FunctionFlag kFunctionFlags[] = {
    {"no-writes", 1}, {"allow-stale", 2},  {"no-cluster", 4},
    {"allow-oom", 8}, {"allow-cross-slot-keys", 16}, {"blind-appends", 32},
};

// The flags of the table at the top. Raises.
inline unsigned redis_read_flags(lua_State* L) {
    unsigned flags = 0;
    for (int i = 1;; i++) {
        lua_rawgeti(L, -1, i);
        if (lua_type(L, -1) == LUA_TNIL)
            break;
        unsigned found = 0;
        if (lua_type(L, -1) == LUA_TSTRING)
            for (const FunctionFlag& flag : kFunctionFlags)
                if (strcmp(lua_tolstring(L, -1, nullptr), flag.name) == 0)
                    found = flag.flag;
        if (found == 0)
            redis_raise(L, "ERR unknown flag given");
        flags |= found;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return flags;
}

inline bool redis_is_name(const char* name, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isalnum(static_cast<unsigned char>(name[i])) && name[i] != '_')
            return false;
    return n > 0;
}

// register_function(name, callback), or with one table of named arguments.
inline int redis_register_function(lua_State* L) {
    LuaHost* h = redis_host(L);
    int arguments = lua_gettop(L);
    unsigned flags = 0;
    if (arguments < 1 || arguments > 2)
        redis_raise(L, "ERR wrong number of arguments to redis.register_function");
    if (h->registered == nullptr)
        redis_raise(L, "ERR redis.register_function can only be called on FUNCTION LOAD command");
    lua_settop(L, 2);
    lua_pushnil(L);                             // 3: name, 4: callback, 5: description
    lua_pushnil(L);
    lua_pushnil(L);
    if (arguments == 2) {
        if (!lua_isstring(L, 1))
            redis_raise(L, "ERR first argument to redis.register_function must be a string");
        if (lua_type(L, 2) != LUA_TFUNCTION)
            redis_raise(L, "ERR second argument to redis.register_function must be a function");
        lua_pushvalue(L, 1);
        lua_replace(L, 3);
        lua_pushvalue(L, 2);
        lua_replace(L, 4);
    } else {
        if (lua_type(L, 1) != LUA_TTABLE)
            redis_raise(L, "ERR calling redis.register_function with a single argument is only "
                           "applicable to Lua table (representing named arguments).");
        for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
            const char* key = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, nullptr) : "";
            if (strcmp(key, "function_name") == 0) {
                if (!lua_isstring(L, -1))
                    redis_raise(L, "ERR function_name argument given to redis.register_function must "
                                   "be a string");
                lua_pushvalue(L, -1);
                lua_replace(L, 3);
            } else if (strcmp(key, "description") == 0) {
                if (!lua_isstring(L, -1))
                    redis_raise(L, "ERR description argument given to redis.register_function must be "
                                   "a string");
                lua_pushvalue(L, -1);
                lua_replace(L, 5);
            } else if (strcmp(key, "callback") == 0) {
                if (lua_type(L, -1) != LUA_TFUNCTION)
                    redis_raise(L, "ERR callback argument given to redis.register_function must be a "
                                   "function");
                lua_pushvalue(L, -1);
                lua_replace(L, 4);
            } else if (strcmp(key, "flags") == 0) {
                if (lua_type(L, -1) != LUA_TTABLE)
                    redis_raise(L, "ERR flags argument to redis.register_function must be a table "
                                   "representing function flags");
                flags = redis_read_flags(L);
            } else {
                redis_raise(L, "ERR unknown argument given to redis.register_function");
            }
        }
        if (lua_type(L, 3) == LUA_TNIL)
            redis_raise(L, "ERR redis.register_function must get a function name argument");
        if (lua_type(L, 4) == LUA_TNIL)
            redis_raise(L, "ERR redis.register_function must get a callback argument");
    }
    size_t n, description_bytes = 0;
    const char* name = lua_tolstring(L, 3, &n);
    const char* description = lua_tolstring(L, 5, &description_bytes);
    if (!redis_is_name(name, n))
        redis_raise(L, "ERR Library names can only contain letters, numbers, or underscores(_) and must "
                       "be at least one character long");
    if (h->registered->has(name, n))
        redis_raise(L, "ERR Function already exists in the library");
    lua_spend(L, kCallSteps + n + description_bytes);
    lua_pushvalue(L, 4);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    h->registered->add(name, n, description, description_bytes, flags, ref);
    return 0;
}

// Give the table at the top the error of a global that is not there.
inline void redis_close_globals(lua_State* L) {
    lua_createtable(L, 0, 1);
    lua_pushcclosure(L, sandbox_no_such_global, 0);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

// Push the globals of a library's top level. Raises when memory is out.
inline void redis_push_load_globals(lua_State* L, LuaHost* h) {
    lua_newtable(L);
    lua_newtable(L);
    lua_pushlightuserdata(L, h);
    lua_pushcclosure(L, redis_register_function, 1);
    lua_setfield(L, -2, "register_function");
    lua_pushlightuserdata(L, h);
    lua_pushcclosure(L, redis_log, 1);
    lua_setfield(L, -2, "log");
    redis_set_constants(L);
    redis_close_globals(L);
    lua_protect(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "redis");
    lua_setfield(L, -2, "server");
    redis_close_globals(L);
}

// Let the globals that scripts see be those of the table at the top, which is popped.
inline void redis_show_globals(lua_State* L) {
    lua_pushvalue(L, LUA_GLOBALSINDEX);
    lua_getmetatable(L, -1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 3);
}

inline int redis_prepare_load(lua_State* L) {
    redis_push_load_globals(L, static_cast<LuaHost*>(lua_touserdata(L, 1)));
    redis_show_globals(L);
    return 0;
}

// Run the compiled top level of a library, which is at the top; `functions` gets what it registers.
// Returns the status of lua_pcall; an error value is at the top if it is not 0.
inline int redis_load_library(lua_State* L, LuaHost* h, LuaFunctionList* functions, int64_t steps,
                              size_t memory_cap, int* stopped) {
    LuaControl* c = lua_control(L);
    *stopped = 0;
    lua_pushcclosure(L, redis_prepare_load, 0);
    lua_pushlightuserdata(L, h);
    int status = lua_pcall(L, 1, 0, 0);
    if (status == 0) {
        h->registered = functions;
        lua_begin(c, steps, memory_cap);
        status = lua_pcall(L, 0, 0, kSlotOnError);
        *stopped = lua_end(c);
        h->registered = nullptr;
    }
    lua_push_globals(L);
    redis_show_globals(L);
    return status;
}

}  // namespace kvnode
