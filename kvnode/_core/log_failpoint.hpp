// Named places at which a debug build can be told to die, fail or dawdle. Crash tests arm them.
#pragma once

#include <atomic>
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

namespace kvnode {

enum LogFailpoint { FP_BEFORE_WRITE, FP_AFTER_WRITE, FP_BEFORE_SYNC, FP_AFTER_SYNC,
                    FP_SEGMENT_SWITCH, FP_COUNT };

enum FailAction { FAIL_OFF, FAIL_EXIT, FAIL_ERROR, FAIL_DELAY, FAIL_SKIP };

#ifdef KVNODE_DEBUG

class Failpoints {
  public:
    // `arg`: errno for FAIL_ERROR, milliseconds for FAIL_DELAY. The first `after` hits pass.
    // FAIL_SKIP leaves out the step and reports success: a planted bug that harnesses must find.
    void arm(int point, int action, int arg, int after) {
        points_[point].arg = arg;
        points_[point].after = after;
        points_[point].action = action;
    }

    // Return 0, the errno to fail with, or -1 = leave out the step.
    int hit(LogFailpoint point) {
        Point& p = points_[point];
        const int action = p.action;
        if (action == FAIL_OFF || p.after.fetch_sub(1) > 0) return 0;
        if (action == FAIL_EXIT) {
            kill(getpid(), SIGKILL);
            for (;;) pause();
        }
        if (action == FAIL_ERROR) return p.arg ? p.arg.load() : EIO;
        if (action == FAIL_DELAY) {
            const timespec t = {p.arg / 1000, (p.arg % 1000) * 1000000L};
            nanosleep(&t, nullptr);
        }
        return action == FAIL_SKIP ? -1 : 0;
    }

  private:
    struct Point {
        std::atomic<int> action{FAIL_OFF}, arg{0}, after{0};
    };
    Point points_[FP_COUNT];
};

#else

class Failpoints {
  public:
    int hit(LogFailpoint) { return 0; }
};

#endif

}  // namespace kvnode
