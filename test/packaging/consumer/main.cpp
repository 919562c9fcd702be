// Prints what the C++ types of a message and of a service hold; test_colcon.py compares it.
#include <iostream>

#include <moro_ros/msg/human_array.hpp>
#include <moro_ros/srv/get_body_model.hpp>

int main()
{
  moro_ros::msg::HumanArray message;
  message.humans.resize(2);
  message.humans[1].id = 7;
  std::cout << message.humans[1].id << ' ' << message.humans[0].joints.size() << ' '
            << static_cast<int>(moro_ros::msg::Human::RIGHT_WRIST) << ' '
            << moro_ros::srv::GetBodyModel::Request().betas.size() << '\n';
}
