/* Runs the handlers of a listen{} call in their order. */
#include "app/service.h"

#include "app/script.h"
#include "socket/timeout.h"
#include "state/state.h"

enum mb_exit mb_service_run(lua_State *L, const struct mb_service *service, mb_service_turn *turn,
                            void *context) {
  mb_listen_close();
  mb_script_limit_memory(L, service->memory_limit);
  enum mb_exit exit = mb_script_call(L, service->prepare);
  mb_timeout_clear();
  if (exit != MB_EXIT_OK) return exit;
  exit = turn(L, service, context);
  mb_timeout_clear();
  enum mb_exit finished = mb_script_call(L, service->finish);
  return exit == MB_EXIT_OK ? finished : exit;
}

int mb_service_connect(lua_State *L, const struct mb_service *service) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, service->connect);
  lua_insert(L, -2);
  return mb_state_call(L, 1, 0);
}
