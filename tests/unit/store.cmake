# The SQL front end lists its own tests in store_frontend.cmake.
mha_unit_test(test_dq_codec SOURCES unit/test_dq_codec.c LIBS store)
mha_unit_test(test_node_identity SOURCES unit/test_node_identity.c LIBS store)
mha_unit_test(test_dq SOURCES unit/test_dq.c unit/store_fixture.c LIBS store)
mha_unit_test(test_store_cluster SOURCES unit/test_store_cluster.c unit/store_fixture.c LIBS store)
if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/store_frontend.cmake)
  include(${CMAKE_CURRENT_LIST_DIR}/store_frontend.cmake)
endif()
mha_unit_test(test_front SOURCES unit/test_front.c unit/store_fixture.c unit/tls_fixture.c LIBS store)
