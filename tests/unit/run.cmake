mha_unit_test(test_link SOURCES unit/test_link.c unit/link_fixture.c LIBS run_io)
mha_unit_test(test_link_http SOURCES unit/test_link_http.c unit/link_fixture.c LIBS run_io)
