/* Visibility of public names. Every other public header includes this one. */
#ifndef EVENER_EXPORT_H
#define EVENER_EXPORT_H

#if defined(__GNUC__)
#define EVENER_API __attribute__((visibility("default")))
#define EVENER_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))
#else
#define EVENER_API
#define EVENER_PRINTF(format_index, first_argument)
#endif

#ifdef __cplusplus
#define EVENER_BEGIN_DECLS extern "C" {
#define EVENER_END_DECLS }
#else
#define EVENER_BEGIN_DECLS
#define EVENER_END_DECLS
#endif

#endif
