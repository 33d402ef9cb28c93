/* Names in the directory of images: store/image_name.h. */
#include "store/image_name.h"

#include "tests/cmocka.h"

#define ID "0b7e1c1a-0000-4000-8000-00000000000a"

static void test_kinds(void **state)
{
    static const struct {
        const char *name;
        enum image_name kind;
    } cases[] = {
        {ID ".img", IMAGE_NAME_WHOLE},
        {ID ".img.tmp-a0ZzY9", IMAGE_NAME_TEMPORARY},
        {"", IMAGE_NAME_OTHER},
        {".", IMAGE_NAME_OTHER},
        {".img", IMAGE_NAME_OTHER},
        {"fire.img", IMAGE_NAME_OTHER},
        {ID, IMAGE_NAME_OTHER},
        {ID ".im", IMAGE_NAME_OTHER},
        {ID ".imgs", IMAGE_NAME_OTHER},
        {"x" ID ".img", IMAGE_NAME_OTHER},
        {ID ".img.tmp-a0ZzY", IMAGE_NAME_OTHER},
        {ID ".img.tmp-a0ZzY9x", IMAGE_NAME_OTHER},
        {ID ".img.tmp-a0ZzY/", IMAGE_NAME_OTHER},
        {ID ".img.tmp-", IMAGE_NAME_OTHER},
        {ID ".img/../../etc/shadow", IMAGE_NAME_OTHER},
        {"../" ID ".img", IMAGE_NAME_OTHER},
        {"0B7E1C1A-0000-4000-8000-00000000000A.img", IMAGE_NAME_OTHER},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(image_name_of(cases[i].name), cases[i].kind);
}

static void test_belongs(void **state)
{
    (void)state;
    assert_true(image_name_belongs(ID ".img", ID ".img"));
    assert_true(image_name_belongs(ID ".img.tmp-abcdef", ID ".img"));
    assert_false(image_name_belongs(ID ".img.bak", ID ".img"));
    assert_false(image_name_belongs("0b7e1c1a-0000-4000-8000-00000000000b.img", ID ".img"));
    /* Whatever a damaged row says: no name belongs to what is no image's file. */
    assert_false(image_name_belongs(ID ".img", ""));
    assert_false(image_name_belongs(ID ".img", ID));
    assert_false(image_name_belongs("", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds),
                                       cmocka_unit_test(test_belongs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
