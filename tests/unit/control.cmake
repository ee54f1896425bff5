mha_unit_test(test_quorum_lease SOURCES unit/test_quorum_lease.c LIBS control)
mha_unit_test(test_control SOURCES unit/test_control.c LIBS control)
mha_unit_test(test_voters SOURCES unit/test_voters.c LIBS control)
