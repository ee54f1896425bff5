mha_unit_test(test_config SOURCES unit/test_config.c LIBS base)
mha_unit_test(test_roster SOURCES unit/test_roster.c LIBS base)
mha_unit_test(test_token SOURCES unit/test_token.c LIBS base)
