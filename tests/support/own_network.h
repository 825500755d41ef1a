/* A network and mount namespace of a test's own, with its own resolv.conf, hosts file and nsswitch.conf, and loopback
 * up.
 *
 *     if (!own_network_enter("nameserver 127.0.0.1\n", "127.0.0.1 localhost\n", "hosts: files dns\n")) {
 *         cr_skip_test("no namespaces here: " ...);
 *     }
 *
 * The calling process stays in it: Criterion runs each test in a process of its own. */
#ifndef EVENER_TESTS_SUPPORT_OWN_NETWORK_H
#define EVENER_TESTS_SUPPORT_OWN_NETWORK_H

#include <stdbool.h>

/* Enter new namespaces and replace the files with the texts. Return false where that is not permitted. */
bool own_network_enter(const char *resolv_conf, const char *hosts, const char *nsswitch);

/* Replace one of the files once more, by another file of the same name. Return false where that is not permitted. */
bool own_network_replace(const char *path, const char *text);

/* Write what `getent ahostsv4 NAME` and `getent ahosts NAME` print into `text`: the addresses, joined by ',', without
 * duplicates. "" if it finds nothing. */
void own_network_getent(const char *database, const char *name, char *text, unsigned bytes);

#endif
