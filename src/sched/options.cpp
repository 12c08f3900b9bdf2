#include <handoff/options.hpp>

namespace handoff {

std::string goroutine_name::describe() const {
    std::string text = "goroutine " + std::to_string(id);
    if (!name.empty()) text += " \"" + name + "\"";
    if (!created.empty()) text += " (" + created + ")";
    return text;
}

}  // namespace handoff
