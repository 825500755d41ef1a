/* The subcommands of `evener`. Each gets its own arguments, argv[0] being its name, and returns the exit status: 0 when
 * all is well, 1 when what was asked for failed, 2 for wrong arguments. */
#ifndef EXAMPLES_EVENER_COMMANDS_H
#define EXAMPLES_EVENER_COMMANDS_H

#define EXIT_USAGE 2

int evener_cli_call(int argc, char **argv);
int evener_cli_check(int argc, char **argv);
int evener_cli_load(int argc, char **argv);
int evener_cli_resolve(int argc, char **argv);

#endif
