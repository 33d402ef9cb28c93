/* Records and page types by number: see records.h. */
#include "restore/formats/records.h"

static const char *const names[RECORD_TYPES] = {
    [RECORD_END] = "END",
    [RECORD_PAGE_DATA] = "PAGE_DATA",
    [RECORD_X86_PV_INFO] = "X86_PV_INFO",
    [RECORD_X86_PV_P2M_FRAMES] = "X86_PV_P2M_FRAMES",
    [RECORD_X86_PV_VCPU_BASIC] = "X86_PV_VCPU_BASIC",
    [RECORD_X86_PV_VCPU_EXTENDED] = "X86_PV_VCPU_EXTENDED",
    [RECORD_X86_PV_VCPU_XSAVE] = "X86_PV_VCPU_XSAVE",
    [RECORD_SHARED_INFO] = "SHARED_INFO",
    [RECORD_X86_TSC_INFO] = "X86_TSC_INFO",
    [RECORD_HVM_CONTEXT] = "HVM_CONTEXT",
    [RECORD_HVM_PARAMS] = "HVM_PARAMS",
    [RECORD_TOOLSTACK] = "TOOLSTACK",
    [RECORD_X86_PV_VCPU_MSRS] = "X86_PV_VCPU_MSRS",
    [RECORD_VERIFY] = "VERIFY",
    [RECORD_CHECKPOINT] = "CHECKPOINT",
    [RECORD_CHECKPOINT_DIRTY_PFN_LIST] = "CHECKPOINT_DIRTY_PFN_LIST",
    [RECORD_STATIC_DATA_END] = "STATIC_DATA_END",
    [RECORD_X86_CPUID_POLICY] = "X86_CPUID_POLICY",
    [RECORD_X86_MSR_POLICY] = "X86_MSR_POLICY",
};

bool record_is_static(uint32_t type)
{
    switch (type) {
    case RECORD_X86_PV_INFO:
    case RECORD_X86_CPUID_POLICY:
    case RECORD_X86_MSR_POLICY:
    case RECORD_STATIC_DATA_END:
    case RECORD_X86_PV_P2M_FRAMES:
        return true;
    default:
        return false;
    }
}

const char *record_name(uint32_t type)
{
    if (type == IMAGE_RECORD_ORIGIN)
        return "ORIGIN";
    return type < RECORD_TYPES ? names[type] : "unknown record";
}

bool page_type_is_table(unsigned type)
{
    unsigned level = type & PAGE_TYPE_LEVEL_MASK;
    return (type & ~(PAGE_TYPE_PINNED | PAGE_TYPE_LEVEL_MASK)) == 0 && level >= PAGE_L1TAB &&
           level <= PAGE_L4TAB;
}
