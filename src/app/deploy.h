/*
 * Loads a script without a connection, and prints its listeners as text (--check), or makes systemd's
 * units or entries for inetd and xinetd of them.
 */
#ifndef MB_DEPLOY_H
#define MB_DEPLOY_H

#include "app/options.h"
#include "base/exits.h"

/*
 * Loads the script and does what the mode says; the modules below lua/mb/deploy write the text. Logs what
 * goes wrong.
 * out  the descriptor to print to; it is closed
 */
enum mb_exit mb_deploy(const struct mb_options *options, int out);

#endif
