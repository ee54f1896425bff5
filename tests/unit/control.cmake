mha_unit_test(test_quorum_lease SOURCES unit/test_quorum_lease.c LIBS control)
