mha_unit_test(test_agent SOURCES unit/test_agent.c LIBS agent)
