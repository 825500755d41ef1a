/* evener: client-side name resolution and load balancing for gRPC in C. Includes every public header of libevener, and
 * evener/grpc.h, which is of libevener-grpc. Not those of the other libraries: include evener/etcd.h (libevener-etcd),
 * evener/descriptors.h and the others of libevener-protobuf-c by name. */
#ifndef EVENER_EVENER_H
#define EVENER_EVENER_H

#include <evener/address.h>
#include <evener/backoff.h>
#include <evener/base_policy.h>
#include <evener/bytes.h>
#include <evener/call.h>
#include <evener/channel.h>
#include <evener/child_policy.h>
#include <evener/connectivity.h>
#include <evener/credentials.h>
#include <evener/export.h>
#include <evener/factory.h>
#include <evener/fork.h>
#include <evener/grpc.h>
#include <evener/interceptor.h>
#include <evener/lane.h>
#include <evener/load_report.h>
#include <evener/log.h>
#include <evener/loop.h>
#include <evener/manual_resolver.h>
#include <evener/picker.h>
#include <evener/policy.h>
#include <evener/policy_config.h>
#include <evener/resolver.h>
#include <evener/runtime.h>
#include <evener/stats.h>
#include <evener/status.h>
#include <evener/subchannel.h>
#include <evener/target.h>
#include <evener/tls_watch.h>
#include <evener/transport.h>
#include <evener/version.h>
#include <evener/wrapping_policy.h>

#endif
