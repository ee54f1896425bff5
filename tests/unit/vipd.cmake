foreach(name allow lease protocol sandbox ruleset announce loop)
  mha_unit_test(test_vip_${name} SOURCES unit/test_vip_${name}.c LIBS vip)
endforeach()
