/* An archive needs a member. */
typedef int evener_test_support_is_not_empty;
