/* Owns nothing. Promises that a typed method and its spelling are the same method, refused in the
 * same words: a typed message's fields are parameters by their names, so that the message's own
 * descriptor is the table. */
#include "coordinator/method_message.h"

#include <assert.h>
#include <string.h>

enum { FIELDS_MAX = 8 };

bool method_message_is_given(const Longhaul__V1__Method *message)
{
    return message &&
           (message->spelling[0] || message->kind_case != LONGHAUL__V1__METHOD__KIND__NOT_SET);
}

/* The fields that are set; each is in a oneof of its own. */
static size_t read_fields(struct method_value values[FIELDS_MAX], const ProtobufCMessage *typed)
{
    const ProtobufCMessageDescriptor *descriptor = typed->descriptor;
    const char *bytes = (const char *)typed;
    size_t count = 0;
    assert(descriptor->n_fields <= FIELDS_MAX);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        uint32_t set_id;
        memcpy(&set_id, bytes + field->quantifier_offset, sizeof set_id);
        if (set_id != field->id)
            continue;
        struct method_value *value = &values[count++];
        *value = (struct method_value){.name = field->name};
        if (field->type == PROTOBUF_C_TYPE_INT64)
            memcpy(&value->tokens, bytes + field->offset, sizeof value->tokens);
        else
            memcpy(&value->real, bytes + field->offset, sizeof value->real);
    }
    return count;
}

enum status method_message_read(struct method *method, const Longhaul__V1__Method *message,
                                int64_t trained_tokens)
{
    const bool is_typed = message->kind_case != LONGHAUL__V1__METHOD__KIND__NOT_SET;
    if (!is_typed)
        return method_parse(method, message->spelling, trained_tokens);
    const ProtobufCFieldDescriptor *kind = protobuf_c_message_descriptor_get_field(
        &longhaul__v1__method__descriptor, (unsigned)message->kind_case);
    if (message->spelling[0])
        return fail(STATUS_INVALID_ARGUMENT,
                    "two methods are given, the message %s and the spelling \"%s\": give one",
                    kind->name, message->spelling);
    struct method_value values[FIELDS_MAX];
    /* Every member of the oneof is a pointer to a message. */
    const size_t count = read_fields(values, &message->rope->base);
    return method_make(method, kind->name, values, count, trained_tokens);
}
