// What Boost.Context's library has since 1.87: the C++ functions that its header declares, around the C functions of its archive.
#include <boost/context/detail/fcontext.hpp>

namespace context = boost::context::detail;

extern "C" {
context::transfer_t jump_fcontext(void* to, void* data);
void* make_fcontext(void* sp, std::size_t size, void (*f)(context::transfer_t));
context::transfer_t ontop_fcontext(void* to, void* data, context::transfer_t (*f)(context::transfer_t));
}

namespace boost::context::detail {

transfer_t jump_fcontext(fcontext_t const to, void* data) { return ::jump_fcontext(to, data); }
fcontext_t make_fcontext(void* sp, std::size_t size, void (*f)(transfer_t)) { return ::make_fcontext(sp, size, f); }
transfer_t ontop_fcontext(fcontext_t const to, void* data, transfer_t (*f)(transfer_t)) { return ::ontop_fcontext(to, data, f); }

}  // namespace boost::context::detail
