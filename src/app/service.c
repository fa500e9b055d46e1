/* Runs the handlers of a listen{} call in their order. */
#include "app/service.h"

#include "api/mb/style.h"
#include "app/sandbox_step.h"
#include "app/script.h"
#include "socket/timeout.h"
#include "state/state.h"

/* Says why a handler cannot call listen. */
static void close_listen(lua_State *L, const struct mb_service *service) {
  static const char in_program[] =
      "not in a program of another library, which accepts by itself: a script with listen{} is "
      "started without --style";
  static const char in_handler[] = "cannot be called from a prepare, connect or finish handler";
  bool is_program = mb_style_is_program(L, service->connect);
  mb_listen_close(L, is_program ? in_program : in_handler);
}

enum mb_exit mb_service_run(lua_State *L, const struct mb_service *service,
                            const struct mb_options *options, mb_service_turn *turn,
                            void *context) {
  close_listen(L, service);
  mb_script_limit_memory(L, service->memory_limit);
  enum mb_exit exit = mb_script_call(L, service->prepare);
  mb_timeout_clear();
  if (exit == MB_EXIT_OK) exit = mb_sandbox_step(L, service, options);
  if (exit != MB_EXIT_OK) return exit;
  exit = turn(L, service, context);
  mb_timeout_clear();
  enum mb_exit finished = mb_script_call(L, service->finish);
  return exit == MB_EXIT_OK ? finished : exit;
}

int mb_service_connect(lua_State *L, const struct mb_service *service, bool *ret_goes_on) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, service->connect);
  lua_insert(L, -2);
  int status = mb_state_call(L, 1, 1);
  if (status != LUA_OK) return status;
  *ret_goes_on = lua_isboolean(L, -1) && lua_toboolean(L, -1);
  lua_pop(L, 1);
  return status;
}
